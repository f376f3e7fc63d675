"""Why a role may do what an ordinary day does not ask of it."""

from collections.abc import Mapping

from aws_cdk import aws_iam as iam

from constructs_lib.role import Role

RARE_GRANTS = "rare-grants"
"""The key of the reasons in the metadata of a role's resource, where reviewers of templates and the tests read them."""


def explain_rare_grants(role: Role | iam.Role, reasons_by_action: Mapping[str, str]) -> None:
    """
    Say in the template why `role` is granted each action that is a key of `reasons_by_action`.

    The end-to-end tests compare what every role was granted with what it used, and fail on a grant that is neither used nor
    explained here. A role is explained once.
    """
    resource = role.resource if isinstance(role, Role) else role.node.default_child
    if not isinstance(resource, iam.CfnRole):
        raise TypeError(f"the role's resource is a {type(resource).__name__}")
    resource.add_metadata(RARE_GRANTS, dict(reasons_by_action))
