"""What DataHub calls an environment."""

from typing import Literal, cast, get_args

# datahub.metadata.schema_classes.FabricTypeClass of acryl-datahub 1.7
Fabric = Literal[
    "DEV",
    "SANDBOX",
    "SBX",
    "CERT",
    "TEST",
    "TST",
    "QA",
    "SIT",
    "UAT",
    "RVW",
    "EI",
    "PRE",
    "STG",
    "NON_PROD",
    "PROD",
    "PRD",
    "CORP",
]
_OTHER_NAMES: dict[str, Fabric] = {"LIVE": "PROD", "PRODUCTION": "PROD", "DEVELOPMENT": "DEV", "STAGING": "STG"}


def fabric_of(name: str) -> Fabric | None:
    """DataHub's name for an environment of this name; None if there is none that says the same."""
    upper = name.upper().replace("-", "_")
    fabric = _OTHER_NAMES.get(upper, upper)
    return cast("Fabric", fabric) if fabric in get_args(Fabric) else None
