"""The images that are compared: the product's, and one by the article's recipe on the same base."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.generated_project import generate_project
from constructs_lib.dbt_project_files import DbtProjectFiles
from constructs_lib.image_context import ImageContext
from local_cloud.cdk_cli import REPOSITORY_ROOT
from local_cloud.container_engine import ContainerEngine
from local_cloud.redshift_stand_in import RedshiftStandIn

ENVIRONMENT = "dev"
_ARTICLE = Path(__file__).parent / "article"
_ARTICLE_PACKAGES = ("boto3", "dbt-core", "dbt-redshift")
# What the article prints, with the port that it leaves at its default.
_ARTICLE_PROFILE = """\
{profile}:
  outputs:
    {environment}:
      host: "{{{{ env_var('DBT_REDSHIFT_HOST') }}}}"
      user: "{{{{ env_var('DBT_REDSHIFT_USER') }}}}"
      password: "{{{{ env_var('DBT_REDSHIFT_PASSWORD') }}}}"
      schema: "{{{{ env_var('DBT_REDSHIFT_SCHEMA') }}}}"
      dbname: "{{{{ env_var('DBT_REDSHIFT_DB') }}}}"
      port: "{{{{ env_var('DBT_REDSHIFT_PORT') | as_number }}}}"
      threads: 4
      type: redshift
  target: {environment}
"""


@dataclass(frozen=True, slots=True)
class Project:
    """A dbt project that is measured: its folder, its name in figures, and the SQL that plays the loader of its sources."""

    name: str
    folder: Path
    raw_sql: str

    @classmethod
    def sample(cls) -> "Project":
        """The sample project."""
        raw_sql = (REPOSITORY_ROOT / "local_cloud/sources/bookshop.sql").read_text()
        return cls("sample", REPOSITORY_ROOT / "projects/bookshop", raw_sql)

    @classmethod
    def generated(cls, models: int, folder: Path) -> "Project":
        """A generated project of `models` models, written to `folder`."""
        shutil.rmtree(folder, ignore_errors=True)
        generate_project(folder, models=models, sources_schema="raw_generated")
        return cls(str(models), folder, _GENERATED_SOURCE)

    def load_sources(self, warehouse: RedshiftStandIn) -> None:
        """Make and fill the tables that the project's sources name."""
        warehouse.run_sql(self.raw_sql)


_GENERATED_SOURCE = """\
create schema if not exists raw_generated;
grant usage on schema raw_generated to public;
drop table if exists raw_generated.events;
create table raw_generated.events as select now()::timestamp as loaded_at;
grant select on raw_generated.events to public;
"""


def build_product_image(engine: ContainerEngine, project: Project, tag: str) -> None:
    """Build the image as a deployment builds it."""
    files = DbtProjectFiles(project.folder)
    with tempfile.TemporaryDirectory(prefix="dbt-image-") as temporary:
        context = Path(temporary) / "context"
        ImageContext(container_folder=REPOSITORY_ROOT / "container", project=files).write(context)
        _build(engine, context, tag, DBT_ENVIRONMENT=ENVIRONMENT)


def build_article_image(engine: ContainerEngine, project: Project, tag: str) -> None:
    """Build the image by the article's recipe, with the product's versions of dbt."""
    with _article_context(project) as context:
        _build(engine, context, tag, PROJECT_NAME=project.name)


def unpacked_bytes(engine: ContainerEngine, tag: str) -> int:
    """The size of all files of the image, its base included."""
    return int(engine.run("image", "inspect", "--format", "{{.Size}}", tag))


def _build(engine: ContainerEngine, context: Path, tag: str, **arguments: str) -> None:
    given = [option for name, value in arguments.items() for option in ("--build-arg", f"{name}={value}")]
    engine.run("build", *engine.build_options, "--tag", tag, *given, context)


@contextmanager
def _article_context(project: Project) -> Iterator[Path]:
    files = DbtProjectFiles(project.folder)
    with tempfile.TemporaryDirectory(prefix="article-") as temporary:
        context = Path(temporary)
        scripts = context / "scripts"
        scripts.mkdir()
        shutil.copyfile(_ARTICLE / "Dockerfile", context / "Dockerfile")
        for script in ("run_dbt.sh", "export_glue_redshift_connection.py"):
            shutil.copyfile(_ARTICLE / script, scripts / script)
        (context / "requirements.txt").write_text("".join(f"{line}\n" for line in _article_requirements()))
        for path in files.relative_paths:
            target = context / "dbt" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(files.folder / path, target)
        profile = _ARTICLE_PROFILE.format(profile=files.profile, environment=ENVIRONMENT)
        (context / "dbt/profiles.yml").write_text(profile)
        yield context


def _article_requirements() -> list[str]:
    locked = (REPOSITORY_ROOT / "container/requirements.txt").read_text()
    found = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", locked, flags=re.MULTILINE))
    return [f"{package}=={found[package]}" for package in _ARTICLE_PACKAGES]
