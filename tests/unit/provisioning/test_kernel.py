"""Kernel limits shared by all are raised if they are lower, and left alone otherwise."""

from pathlib import Path

from pushrod.provisioning import kernel


def place(directory: Path, **values: int) -> Path:
    for name, value in values.items():
        path = directory / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return directory


def test_lower_kernel_limits_are_raised(tmp_path: Path) -> None:
    place(tmp_path, fs__inotify__max_user_instances=128, fs__epoll__max_user_watches=1 << 41)
    assert kernel.lower(tmp_path) == ["fs.inotify.max_user_instances"]
    settings, raised = kernel.plan(tmp_path)
    assert settings.change.what == str(kernel.SETTINGS)
    assert (raised.change.action, raised.change.detail) == (
        "changed",
        "raised: fs.inotify.max_user_instances",
    )


def test_sufficient_and_missing_kernel_limits_are_left_alone(tmp_path: Path) -> None:
    place(
        tmp_path, fs__inotify__max_user_watches=(1 << 31) - 1, net__ipv4__neigh__default__gc_thresh3=1 << 20
    )
    (tmp_path / "fs" / "aio-max-nr").write_text("what is no number\n")
    assert kernel.lower(tmp_path) == []
    assert len(kernel.plan(tmp_path)) == 1


def test_a_kernel_without_these_limits_is_no_error(tmp_path: Path) -> None:
    assert kernel.lower(tmp_path) == []
