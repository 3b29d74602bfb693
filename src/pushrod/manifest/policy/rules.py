"""The rule for each key, and the reduction of a whole document. Pure."""

from collections.abc import Mapping

from pushrod.core.limits import Limits
from pushrod.core.traits import BY_NAME, DOCKER
from pushrod.manifest import grants
from pushrod.manifest.document import Key
from pushrod.manifest.policy import amounts, lengths, mounts, rights
from pushrod.manifest.policy.counts import checked, count_each, paced_for
from pushrod.manifest.policy.reading import Document, Permitted, Reading, Rule, Terms
from pushrod.manifest.policy.refusals import refuse


def apply(document: object, terms: Terms) -> Permitted:
    """The part of a resolved document that may run on an engine.

    Raises ManifestError about the first key that is unknown, refused or useless, or that needs a grant the owner has
    not given; in that case the hint names the grants for all such keys.
    """
    top = Key("", document)
    count_each(top, terms.limits)
    lengths.check(top)
    limits = paced_for(terms.limits, checked(top) if BY_NAME[terms.engine].containers else 0)
    reading = Reading(terms._replace(limits=limits), top.get("name").text(), RULES)
    permitted = reading.mapping(top, "")
    if BY_NAME[terms.engine].containers:
        rights.vault(reading, top.get("x-pushrod").get("backups").get("to"))
    wants = [w for w in reading.wants if not grants.covered(w.word, terms.allowed)]
    if wants:
        refuse(wants, reading.app or "APP")
    return Permitted(permitted, reading.notes)


def paced(check: Mapping[str, float], limits: Limits) -> Document:
    """An image's own health check reduced to the host's limits: the keys of Compose's `healthcheck` that change.

    `check` has its times in seconds, by Compose's names; 0 is Docker's default.
    """
    reading = Reading(Terms(DOCKER.name, limits), "", RULES)
    given = {name: Key(name, value) for name, value in check.items() if value}
    bounded = {n: RULES[f"services.*.healthcheck.{n}"](reading, k) for n, k in given.items()}
    changed = {name: value for name, value in bounded.items() if value != given[name].value}
    if "start_interval" in changed:  # Compose accepts it only together with the other
        changed.setdefault("start_period", f"{check.get('start_period', 0):g}s")
    return changed


RULES: Mapping[str, Rule] = {
    "services.*.cap_add": rights.capabilities,
    "services.*.cgroup": rights.namespace,
    "services.*.configs": mounts.references,
    "services.*.cpu_shares": amounts.shares,
    "services.*.cpus": amounts.cpus,
    "services.*.cpuset": amounts.cpuset,
    "services.*.device_cgroup_rules": rights.worded_if_given("devices"),
    "services.*.devices": rights.worded_if_given("devices"),
    "services.*.gpus": rights.worded_if_given("devices"),
    "services.*.ipc": rights.namespace,
    "services.*.labels": rights.labels,
    "services.*.mem_limit": amounts.sized("memory"),
    "services.*.mem_reservation": amounts.sized("memory"),
    "services.*.memswap_limit": amounts.swap,
    "services.*.network_mode": rights.namespace,
    "services.*.oom_score_adj": amounts.oom_score,
    "services.*.pid": rights.namespace,
    "services.*.pids_limit": amounts.pids,
    "services.*.privileged": rights.privileged,
    "services.*.runtime": rights.runtime,
    "services.*.scale": amounts.replicas,
    "services.*.secrets": mounts.references,
    "services.*.security_opt": rights.security,
    "services.*.shm_size": amounts.sized("shm"),
    "services.*.stop_grace_period": amounts.stop_grace,
    "services.*.sysctls": rights.sysctls,
    "services.*.tmpfs": amounts.tmpfs,
    "services.*.ulimits": amounts.ulimits,
    "services.*.use_api_socket": rights.worded_if_given("docker-socket"),
    "services.*.userns_mode": rights.namespace,
    "services.*.uts": rights.namespace,
    "services.*.volumes": mounts.mounts,
    "services.*.volumes_from": mounts.volumes_from,
    "services.*.volumes.bind.propagation": mounts.propagation,
    "services.*.volumes.tmpfs.size": amounts.sized("tmpfs"),
    "services.*.build.additional_contexts": mounts.contexts,
    "services.*.deploy.mode": amounts.mode,
    "services.*.deploy.replicas": amounts.replicas,
    "services.*.deploy.resources.limits.cpus": amounts.cpus,
    "services.*.deploy.resources.limits.memory": amounts.sized("memory"),
    "services.*.deploy.resources.limits.pids": amounts.pids,
    "services.*.deploy.resources.reservations.devices": rights.worded_if_given("devices"),
    "services.*.deploy.resources.reservations.memory": amounts.sized("memory"),
    "services.*.healthcheck.interval": amounts.period(amounts.HOUR, floor=True),
    "services.*.healthcheck.retries": amounts.retries,
    "services.*.healthcheck.start_interval": amounts.start_interval,
    "services.*.healthcheck.start_period": amounts.period(amounts.HOUR),
    "services.*.healthcheck.timeout": amounts.period(amounts.TEN_MINUTES),
    "services.*.logging.driver": amounts.log_driver,
    "services.*.logging.options": amounts.log_options,
    "services.*.post_start.privileged": rights.privileged,
    "services.*.pre_stop.privileged": rights.privileged,
    "volumes.*": mounts.volume,
    "configs.*.file": mounts.file,
    "secrets.*.file": mounts.file,
}
"""The rule of each key that is limited or needs a grant, and of some others whose form is checked."""
