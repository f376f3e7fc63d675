"""The images of an artifact, saved and loaded by a real container engine."""

from pathlib import Path

from local_cloud.container_engine import ContainerEngine
from tools import saved_images


def test_images_of_projects_share_their_layers(
    engine: ContainerEngine, image: str, tmp_path: Path, unique: str
) -> None:
    """Two images that differ in the last layer take little more than one, and each comes back under its name and id."""
    kept, tags = tmp_path / "kept", [f"localhost/{unique}-{name}" for name in ("books", "toys")]
    archives, ids = [], []
    for tag in tags:
        context = tmp_path / "context"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text(f"FROM {image}\nCOPY project /project\n")
        (context / "project").write_text(tag)
        engine.run("build", *engine.build_options, "--tag", tag, context)
        archives.append(tmp_path / f"{tag.rpartition('/')[2]}.tar")
        engine.run("save", "--output", archives[-1], tag)
        ids.append(_id(engine, tag))
        saved_images.keep(archives[-1], kept, archives[-1].stem)
        engine.run("rmi", tag)

    size = sum(part.stat().st_size for part in (kept / "blobs").iterdir())
    assert size < 1.1 * archives[0].stat().st_size

    for tag, archive, id_ in zip(tags, archives, ids, strict=True):
        saved_images.write(kept, archive.stem, tmp_path / "again.tar")
        engine.run("load", "--input", tmp_path / "again.tar")
        assert _id(engine, tag) == id_
        assert engine.run("run", "--rm", tag, "cat /project") == tag
        engine.run("rmi", tag)


def _id(engine: ContainerEngine, tag: str) -> str:
    return engine.run("inspect", "--type", "image", "--format", "{{.Id}}", tag).strip()
