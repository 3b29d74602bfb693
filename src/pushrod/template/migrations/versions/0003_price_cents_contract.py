"""prices in whole cents, the second half: nothing reads `price` any more, so it goes

In a later release than the previous migration: a rollback to a release that reads `price` is no longer possible.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP TRIGGER products_price ON products")
    op.execute("DROP FUNCTION products_price")
    op.execute(
        "ALTER TABLE products ALTER COLUMN price_cents SET NOT NULL"
    )  # known by the constraint: no scan
    op.execute("ALTER TABLE products DROP COLUMN price")


def downgrade() -> None:
    op.execute("ALTER TABLE products ADD COLUMN price numeric(12, 2)")
    op.execute("UPDATE products SET price = price_cents / 100.0")
    op.execute("ALTER TABLE products ALTER COLUMN price_cents DROP NOT NULL")
    op.execute("""
        CREATE FUNCTION products_price() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.price_cents IS NULL OR (TG_OP = 'UPDATE' AND NEW.price IS DISTINCT FROM OLD.price) THEN
                NEW.price_cents := round(NEW.price * 100);
            ELSE
                NEW.price := NEW.price_cents / 100.0;
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER products_price BEFORE INSERT OR UPDATE ON products
        FOR EACH ROW EXECUTE FUNCTION products_price()
    """)
