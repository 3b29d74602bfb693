#!/bin/bash
# Makes the data directory in an empty volume and becomes the server, as the account mysql: the part of the official
# entrypoint that MARIADB_ (or MYSQL_) ROOT_PASSWORD, ALLOW_EMPTY_ROOT_PASSWORD, RANDOM_ROOT_PASSWORD, DATABASE, USER and
# PASSWORD need, each but the second and the third also as a file (_FILE).
set -euo pipefail

DATA=/var/lib/mysql

# The value of a variable under either of its names, or the content of the file that its _FILE variant names.
value() {
    local prefix name
    for prefix in MARIADB MYSQL; do
        name=${prefix}_$1
        if [ -n "${!name:-}" ]; then
            printf '%s' "${!name}"
            return
        fi
        name=${name}_FILE
        if [ -n "${!name:-}" ]; then
            cat "${!name}"
            return
        fi
    done
}

# A text as an SQL literal.
quoted() {
    local text=${1//\\/\\\\}
    printf "'%s'" "${text//\'/\'\'}"
}

prepare() {
    local root user password database
    root=$(value ROOT_PASSWORD)
    if [ -n "$(value RANDOM_ROOT_PASSWORD)" ]; then
        root=$(head --bytes=24 /dev/urandom | base64 --wrap=0)
        echo "GENERATED ROOT PASSWORD: $root"
    fi
    if [ -z "$root" ] && [ -z "$(value ALLOW_EMPTY_ROOT_PASSWORD)$(value ALLOW_EMPTY_PASSWORD)" ]; then
        echo "Database is uninitialized and password option is not specified" >&2
        echo "You need to specify one of MARIADB_ROOT_PASSWORD, MARIADB_ROOT_PASSWORD_HASH," \
            "MARIADB_ALLOW_EMPTY_ROOT_PASSWORD and MARIADB_RANDOM_ROOT_PASSWORD" >&2
        exit 1
    fi
    user=$(value USER)
    password=$(value PASSWORD)
    database=$(value DATABASE)
    mariadb-install-db --datadir="$DATA" --auth-root-authentication-method=normal --skip-test-db >/dev/null
    # Until it is set up, it listens on its socket only.
    "$@" --skip-networking &
    local pid=$!
    until mariadb-admin --silent ping 2>/dev/null; do
        kill -0 $pid
        sleep 0.1
    done
    {
        echo "DROP USER IF EXISTS ''@'localhost', ''@'$(hostname)', root@'127.0.0.1', root@'::1', root@'$(hostname)';"
        if [ -n "$database" ]; then
            echo "CREATE DATABASE IF NOT EXISTS \`$database\`;"
        fi
        if [ -n "$user" ]; then
            echo "CREATE USER $(quoted "$user")@'%' IDENTIFIED BY $(quoted "$password");"
        fi
        if [ -n "$user" ] && [ -n "$database" ]; then
            echo "GRANT ALL ON \`${database//_/\\_}\`.* TO $(quoted "$user")@'%';"
        fi
        echo "CREATE USER 'root'@'%' IDENTIFIED BY $(quoted "$root");"
        echo "GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;"
        echo "ALTER USER 'root'@'localhost' IDENTIFIED BY $(quoted "$root");"
    } | mariadb --user=root
    local file
    for file in /docker-entrypoint-initdb.d/*.sql; do
        [ ! -f "$file" ] || MYSQL_PWD=$root mariadb --user=root "$database" <"$file"
    done
    kill $pid
    wait $pid
}

case "${1:-}" in
-*) set -- mariadbd "$@" ;;
mysqld) set -- mariadbd "${@:2}" ;;
esac
if [ "$1" != mariadbd ]; then
    exec "$@"
fi
if [ "$(id -u)" = 0 ]; then
    find "$DATA" /run/mysqld ! -user mysql -exec chown mysql '{}' +
    exec setpriv --reuid=mysql --regid=mysql --init-groups "$0" "$@"
fi
if [ ! -d "$DATA/mysql" ]; then
    prepare "$@"
fi
exec "$@"
