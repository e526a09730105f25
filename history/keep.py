"""Archives and removes runs: first what would be done, then, if confirmed, it is done.

Never removed: a run without a verdict, one whose folder was renamed, since its user
keeps it, one of a campaign, and the target of `latest`.
"""

import contextlib
import shutil
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex

from base.errors import Aborted, UserError, write_failure
from history.entry import STARTED, RunEntry


@dataclass(slots=True, kw_only=True)
class Removal:
    """A run that would be removed, and what its folder takes."""

    run: RunEntry
    path: Path
    size_bytes: int


def removable(
    root: Path,
    runs: Sequence[RunEntry],
    *,
    keep: int | None,
    older_than_days: float | None,
    now: datetime | None = None,
) -> list[Removal]:
    """Return the runs that `prune` would remove, oldest first.

    Args:
        root: folder of the runs.
        runs: all that may be removed, oldest first.
        keep: how many of the newest stay; None: their number decides nothing.
        older_than_days: only runs that started longer ago; None: any.
        now: UTC; None: this moment.

    Raises:
        UserError: neither of the two was given.
    """
    if keep is None and older_than_days is None:
        raise UserError("prune needs --keep N, --older-than DAYS or both")
    chosen = list(runs[: -keep or None]) if keep is not None else list(runs)
    if older_than_days is not None:
        end = (now or datetime.now(UTC)) - timedelta(days=older_than_days)
        chosen = [run for run in chosen if _began_before(run, end)]
    latest = (root / "latest").resolve()
    found = []
    for run in chosen:
        path = root / run.path
        # A campaign's runs belong together: its record and report name them.
        own = run.ended and run.started and not run.campaign
        if own and path.resolve() != latest:
            found.append(Removal(run=run, path=path, size_bytes=folder_bytes(path)))
    return found


def _began_before(run: RunEntry, end: datetime) -> bool:
    if not run.started:
        return False
    began = datetime.strptime(run.started, STARTED).replace(tzinfo=UTC)
    return began < end


def folder_bytes(path: Path) -> int:
    """Return the size of all files in `path`."""
    return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())


def remove(removals: Iterable[Removal]) -> None:
    """Remove the folders.

    Raises:
        Aborted: one cannot be removed; those before it are gone.
    """
    for removal in removals:
        try:
            # Renamed first: an interrupted removal leaves no half of a run.
            doomed = removal.path.with_name(f".removed-{token_hex(8)}")
            removal.path.rename(doomed)
            shutil.rmtree(doomed)
        except OSError as error:
            raise Aborted(f"{removal.path}: {error.strerror or error}") from error


def campaign_files(root: Path, runs: Iterable[RunEntry]) -> list[Path]:
    """Return the files of the campaigns of `runs` that belong to no run of them."""
    parents = {(root / run.path).parent for run in runs if run.campaign}
    return [
        path
        for parent in sorted(parents)
        for path in sorted(parent.iterdir())
        if path.is_file() and not path.is_symlink()
    ]


def archive(root: Path, paths: Sequence[Path], target: Path) -> None:
    """Write folders and files into a new compressed tar file, and read it back.

    Raises:
        UserError: the file exists, its folder does not, or it lies in one of the
            folders.
        Aborted: it cannot be written, or does not contain all files.
    """
    if target.exists() or target.is_symlink():
        raise UserError(f"{target}: exists; name another file")
    if any(target.resolve().is_relative_to(path.resolve()) for path in paths):
        raise UserError(f"{target}: is inside a run that it would contain")
    draft = target.with_name(f".{target.name}.{token_hex(8)}")
    try:
        with tarfile.open(draft, "w:gz") as file:
            for path in paths:
                file.add(path, path.relative_to(root))
        _check(draft, root, paths)
        draft.replace(target)
    except OSError as error:
        raise write_failure(target, error) from error
    except tarfile.TarError as error:
        raise Aborted(f"{target}: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def _check(draft: Path, root: Path, paths: Sequence[Path]) -> None:
    with tarfile.open(draft) as file:
        stored = {member.name: member.size for member in file if member.isfile()}
    for path in paths:
        for one in (path, *path.rglob("*")):
            if one.is_file() and not one.is_symlink():
                name = one.relative_to(root).as_posix()
                if stored.get(name) != one.stat().st_size:
                    raise tarfile.TarError(f"{name} changed while it was packed")
