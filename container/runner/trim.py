"""
Removes from the virtual environment of the image what dbt on Redshift never reads; run once, while the image is built.

Each entry says why it is safe. What is imported, or may be on any path that the runner offers, stays.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

# The clients that the runner makes, those that redshift_connector makes for the IAM methods, and what boto3 itself needs to
# become the task role. boto3 looks a service's folder up when its client is made, and nowhere else.
AWS_SERVICES = frozenset(
    {"glue", "kms", "redshift", "redshift-serverless", "s3", "secretsmanager", "ssm", "sso", "sso-oidc", "sts"}
)
# agate asks babel for the number format of en_US, dbt never names another locale; a locale inherits from `en` and `root`.
LOCALES = frozenset({"root.dat", "en.dat", "en_US.dat"})


def main(environment: Path) -> None:
    """Trim the virtual environment in `environment`."""
    packages = next(environment.glob("lib/python3*/site-packages"))
    for path in sorted(_unused(packages)):
        if not path.exists():
            continue  # it went with its folder
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    for tool in (
        "pip",
        "pip3",
        *(path.name for path in environment.glob("bin/pip3.*")),
        "activate.csh",
        "activate.fish",
    ):
        (environment / "bin" / tool).unlink(missing_ok=True)


def _unused(packages: Path) -> Iterator[Path]:
    # Nothing is installed in a container that runs.
    yield from packages.glob("pip")
    yield from packages.glob("pip-*.dist-info")
    yield from (path for path in packages.glob("botocore/data/*") if path.is_dir() and path.name not in AWS_SERVICES)
    # redshift_connector asks for them: to read the pages of SAML identity providers, of which the runner offers none, and
    # to find its own version where importlib.metadata does not exist. They go with their metadata, so that a scan of the
    # image sees the truth.
    for name in ("lxml", "bs4", "beautifulsoup4", "soupsieve", "setuptools", "_distutils_hack"):
        yield from packages.glob(name)
        yield from packages.glob(f"{name}-*.dist-info")
    yield from packages.glob("distutils-precedence.pth")
    # Descriptions of boto3's resource objects and examples in its help; the runner uses clients only.
    yield from packages.glob("botocore/data/*/*/examples-1.json*")
    yield from (path for path in packages.glob("babel/locale-data/*.dat") if path.name not in LOCALES)
    # Tests of packages, which nothing outside them imports; `dbt/tests` would be dbt's own public package.
    yield from (path for name in _WITH_TESTS for path in (packages / name).rglob("tests") if path.is_dir())
    # Type stubs and C sources are read by type checkers and compilers only.
    for pattern in ("*.pyi", "*.pyx", "*.pxd", "*.c", "*.h", "*.cpp"):
        yield from packages.rglob(pattern)


_WITH_TESTS = ("networkx", "agate", "isodate", "parsedatetime")

if __name__ == "__main__":
    main(Path(sys.argv[1]))
