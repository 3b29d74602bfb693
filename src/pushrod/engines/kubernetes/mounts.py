"""What a service mounts, as volumes of its pods: claims, ConfigMaps, Secrets, memory. Pure."""

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from pushrod.adapters import docker
from pushrod.core.errors import ManifestError
from pushrod.core.values import Service
from pushrod.engines.docker import containers
from pushrod.engines.exported import Exported, covered
from pushrod.engines.kubernetes import keys, objects
from pushrod.engines.kubernetes.objects import Cluster, Object

_CLOCKS = ("/etc/localtime", "/etc/timezone")
_CLAIM = "1Gi"  # of storage, unless the overlay of who applies it says otherwise
_RUNS = 0o555  # files of the commit may be programs


class Mounts:
    """The mounts of one service: `volumes` of the pod, `mounts` of its container, `claims` that a StatefulSet makes
    for it alone, and further `objects`.
    """

    def __init__(self, x: Exported, cluster: Cluster, service: Service) -> None:
        self.volumes: list[Object] = []
        self.mounts: list[Object] = []
        self.claims: list[Object] = []
        self.objects: list[Object] = []
        self._x, self._cluster, self._service = x, cluster, service
        self._where = f"services.{service.name}.volumes"
        raw = containers.raw_of(x.document, service.name)
        for volume in containers.mounted(x.document, service.name):
            if isinstance(volume, dict):
                self._add(volume)
        for line in containers.listed(raw.get("tmpfs")):
            target, _, options = line.partition(":")
            sizes = [o.removeprefix("size=") for o in options.split(",") if o.startswith("size=")]
            self._memory(target, sizes[0] if sizes else None)
        if raw.get("shm_size"):
            self._memory("/dev/shm", raw["shm_size"])  # noqa: S108
        if service.read_only and "/tmp" not in self.targets:  # noqa: S108
            self._memory("/tmp", None)  # noqa: S108
        for kind, directory in (("configs", "/"), ("secrets", "/run/secrets")):
            for item in raw.get(kind) or []:
                self._file(kind, directory, item if isinstance(item, dict) else {"source": item})
        if service.role == "store":
            self._keep()

    @property
    def targets(self) -> set[str]:
        """The paths in the container at which something is mounted."""
        return {str(mount["mountPath"]).rstrip("/") for mount in self.mounts}

    @property
    def keeps(self) -> bool:
        """Whether something that outlives a pod is mounted for writing."""
        claimed = {v["name"] for v in self.volumes if "persistentVolumeClaim" in v}
        claimed |= {claim["metadata"]["name"] for claim in self.claims}
        return any(m["name"] in claimed and not m.get("readOnly") for m in self.mounts)

    def mount(self, volume: str, target: str, **more: Any) -> None:
        """Mount a volume of the pod at a path."""
        self.mounts.append(objects.without_none({"name": volume, "mountPath": target, **more}))

    def _add(self, volume: Mapping[str, Any]) -> None:
        target, kind = str(volume["target"]), volume.get("type")
        read_only = True if volume.get("read_only") else None
        if kind == "tmpfs":
            self._memory(target, (volume.get("tmpfs") or {}).get("size"))
        elif kind == "bind":
            self._bind(str(volume["source"]), target, read_only)
        elif not volume.get("source"):
            if self._service.role != "store":  # a store's becomes a claim
                self._pod({"emptyDir": {}}, target)
        else:
            self._claim(str(volume["source"]), target, read_only, (volume.get("volume") or {}).get("subpath"))

    def _pod(self, source: Object, target: str, **more: Any) -> None:
        name = next((v["name"] for v in self.volumes if {**v, "name": ""} == {**source, "name": ""}), "")
        if not name:
            name = f"volume-{len(self.volumes)}"
            self.volumes.append({"name": name, **source})
        self.mount(name, target, **more)

    def _memory(self, target: str, size: Any) -> None:
        limit = {"sizeLimit": str(size).removesuffix("b")} if size else {}
        self._pod({"emptyDir": {"medium": "Memory", **limit}}, target)

    def _bind(self, source: str, target: str, read_only: bool | None) -> None:
        if source.startswith("/"):
            if source in _CLOCKS:
                return
            keys.refuse(self._where, f"`{source}` of the host")
        tree = self._x.tree(source)
        if tree is None:
            self._claim(source, target, read_only, None, data=True)
            return
        content = objects.files(tree, self._where)
        data = objects.without_none({"data": content.text, "binaryData": content.binary})
        store = self._service.role == "store"
        whose = (self._x.app,) if store else (self._x.app, self._x.release)
        name = objects.name(*whose, "files", objects.of_tree(tree))
        labels = {docker.APP: self._x.app, **({} if store else {docker.RELEASE: self._x.release})}
        self.objects.append(objects.make("ConfigMap", "v1", name, self._cluster, labels, **data))
        single = set(tree) == {""}
        items = {} if single else {"items": content.items}
        config = {"name": name, "defaultMode": _RUNS, **items}
        key = content.items[0]["key"] if single else None
        self._pod({"configMap": config}, target, subPath=key, readOnly=True)

    def _claim(
        self, source: str, target: str, read_only: bool | None, inner: str | None, *, data: bool = False
    ) -> None:
        """A claim that all releases share, or one of the store's own if nobody else mounts the volume."""
        key = f"data-{posixpath.normpath(source)}" if data else source
        name = objects.name(self._x.app, key)
        more = {"readOnly": read_only, "subPath": inner}
        if self._service.role == "store" and not self._shared(source):
            self.own(objects.name(key), target, **more)
            return
        claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": _CLAIM}}}
        labels = objects.labels(self._x, "store", key, release=False)
        self.objects.append(
            objects.make("PersistentVolumeClaim", "v1", name, self._cluster, labels, spec=claim)
        )
        self._pod({"persistentVolumeClaim": {"claimName": name}}, target, **more)

    def _shared(self, source: str) -> bool:
        every = [*self._x.manifest.stateless, *self._x.manifest.stores]
        using = [
            s.name
            for s in every
            if any(
                isinstance(v, dict) and v.get("source") == source
                for v in containers.mounted(self._x.document, s.name)
            )
        ]
        return len(set(using)) > 1

    def own(self, name: str, target: str, **more: Any) -> None:
        """A claim that a StatefulSet makes for each of its pods. Programs see a directory in it: a new file system
        has a `lost+found`, with which databases refuse to begin.
        """
        if name not in [claim["metadata"]["name"] for claim in self.claims]:
            spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": _CLAIM}}}
            self.claims.append({"metadata": {"name": name}, "spec": spec})
        inner = posixpath.join("data", more.pop("subPath", None) or "").rstrip("/")
        self.mount(name, target, subPath=inner, **more)

    def _keep(self) -> None:
        """Claims for a store's data for which the manifest names no volume. Raises ManifestError for a store whose
        data would be lost with its pod.
        """
        raw = containers.mounted(self._x.document, self._service.name)
        anonymous = [str(v["target"]) for v in raw if isinstance(v, dict) and not v.get("source")]
        anonymous = [t for t in anonymous if t.rstrip("/") not in self.targets]
        for target in dict.fromkeys((*self._x.images[self._service.name].data, *anonymous)):
            if not covered(target, self.targets):
                self.own(objects.name(target.strip("/").replace("/", "-")), target)
        if not self.keeps:
            raise ManifestError(
                "its data would be lost with its pod",
                where=f"services.{self._service.name}",
                hint="mount a named volume where it keeps its data; or `x-pushrod: {role: worker}` if it keeps none",
            )

    def _file(self, kind: str, directory: str, reference: Mapping[str, Any]) -> None:
        """A config or secret of the manifest: one object for each, with the single key `value`."""
        source = str(reference["source"])
        target = posixpath.join(directory, str(reference.get("target") or source))
        name = objects.of_release(self._x, kind.removesuffix("s"), source)
        volume: Object = (
            {"secret": {"secretName": name}}
            if is_secret(self._x, kind, source)
            else {"configMap": {"name": name}}
        )
        (_, whole), mode = next(iter(volume.items())), str(reference.get("mode") or "0444")
        whole["defaultMode"] = int(mode, 8)
        self._pod(volume, target, subPath="value", readOnly=True)


def is_secret(x: Exported, kind: str, source: str) -> bool:
    """Whether a config or secret of the manifest is in a Secret: all but configs that are files of the commit."""
    declared = (x.document.get(kind) or {}).get(source) or {}
    return kind == "secrets" or "file" not in declared


def declared(x: Exported) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """The kind, name and definition of each config and secret that a service mounts."""
    seen = set()
    for service in (*x.manifest.stateless, *x.manifest.stores):
        raw = containers.raw_of(x.document, service.name)
        for kind in ("configs", "secrets"):
            for item in raw.get(kind) or []:
                source = str(item["source"] if isinstance(item, dict) else item)
                if (kind, source) not in seen:
                    seen.add((kind, source))
                    yield kind, source, (x.document.get(kind) or {}).get(source) or {}
