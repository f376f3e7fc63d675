"""CloudFormation resources that the stock emulator makes otherwise than AWS."""

import json
from collections.abc import Callable
from typing import Any

from local_cloud.emulator.patches.stock import Json, ecs, iam, provisioners, replace, scheduler, secretsmanager

Created = tuple[str, Json]

# Their keys are the user's own words, not names of the API.
_MAPS_OF_THE_USER = frozenset({"options", "dockerLabels", "driverOpts", "labels"})


def apply() -> None:
    """Apply the patches of this module."""
    _refer_to_secrets_by_arn()
    _register_whole_task_definitions()
    _give_networks_their_attributes()
    _keep_whole_schedules()
    _limit_roles_by_their_boundaries()


def _refer_to_secrets_by_arn() -> None:
    """`Ref` of a secret is its ARN on AWS; the stock emulator gives the name, which no IAM policy matches."""
    handlers = provisioners._RESOURCE_HANDLERS["AWS::SecretsManager::Secret"]

    def with_arn(created: Created) -> Created:
        name, attributes = created[:2]
        return attributes.get("Arn", name), attributes

    def name_of(arn: str) -> str:
        return next((name for name, secret in secretsmanager._secrets.items() if secret.get("ARN") == arn), arn)

    def create(stock: Callable[..., Created]) -> Callable[..., Created]:
        return lambda logical_id, props, stack_name: with_arn(stock(logical_id, props, stack_name))

    def update(stock: Callable[..., Created]) -> Callable[..., Created]:
        return lambda physical_id, old_props, new_props, stack_name, logical_id=None: with_arn(
            stock(name_of(physical_id), old_props, new_props, stack_name, logical_id=logical_id)
        )

    def delete(stock: Callable[..., None]) -> Callable[..., None]:
        return lambda physical_id, props: stock(name_of(physical_id), props)

    replace(handlers, "create", "logical_id", "props", "stack_name", by=create)
    replace(handlers, "update", "physical_id", "old_props", "new_props", "stack_name", "logical_id", by=update)
    replace(handlers, "delete", "physical_id", "props", by=delete)


def _register_whole_task_definitions() -> None:
    """
    A task definition from a template is the one that RegisterTaskDefinition makes of the same values.

    The stock emulator converts some nested keys and leaves others in CloudFormation's spelling, where ECS does not find them:
    secrets, volumes, health checks, start dependencies, the runtime platform and ephemeral storage.
    """

    def create(_stock: Callable[..., Created]) -> Callable[..., Created]:
        def register(logical_id: str, props: Json, stack_name: str) -> Created:
            request = _in_api_spelling({"Family": f"{stack_name}-{logical_id}", **props})
            status, _, body = ecs._register_task_definition(request)
            answer = json.loads(body)
            if status >= 400:
                raise ValueError(f"AWS::ECS::TaskDefinition create failed: {answer.get('message', answer)}")
            arn = answer["taskDefinition"]["taskDefinitionArn"]
            return arn, {"TaskDefinitionArn": arn}

        return register

    # The update handler calls the module's function, a first creation the one in the table.
    replace(provisioners, "_ecs_task_def_create", "logical_id", "props", "stack_name", by=create)
    handlers = provisioners._RESOURCE_HANDLERS["AWS::ECS::TaskDefinition"]
    replace(handlers, "create", "logical_id", "props", "stack_name", by=lambda _: provisioners._ecs_task_def_create)


def _give_networks_their_attributes() -> None:
    """CDK's interface endpoints read the CIDR block of their VPC, which the stock emulator does not return."""

    def create_with(*names: str) -> Callable[[Callable[..., Created]], Callable[..., Created]]:
        def wrap(stock: Callable[..., Created]) -> Callable[..., Created]:
            def create(logical_id: str, props: Json, stack_name: str) -> Created:
                physical_id, attributes = stock(logical_id, props, stack_name)
                return physical_id, {**{name: props[name] for name in names if name in props}, **attributes}

            return create

        return wrap

    handlers = provisioners._RESOURCE_HANDLERS
    parameters = ("logical_id", "props", "stack_name")
    replace(handlers["AWS::EC2::VPC"], "create", *parameters, by=create_with("CidrBlock"))
    replace(handlers["AWS::EC2::Subnet"], "create", *parameters, by=create_with("CidrBlock", "VpcId"))


def _keep_whole_schedules() -> None:
    """
    A schedule from a template keeps its time zone, and the network of its task under the name that Scheduler's API gives it.

    The stock emulator drops the one and keeps the other as CloudFormation spells it, where no reader finds it.
    """

    def with_network(props: Json) -> Json:
        props = json.loads(json.dumps(props))
        network = props.get("Target", {}).get("EcsParameters", {}).get("NetworkConfiguration", {})
        if "AwsvpcConfiguration" in network:
            network["awsvpcConfiguration"] = network.pop("AwsvpcConfiguration")
        return props

    def complete(created: Created, props: Json) -> Created:
        schedule = scheduler._schedules[f"{props.get('GroupName', 'default')}/{created[0]}"]
        schedule.update(
            {key: props[key] for key in ("ScheduleExpressionTimezone", "StartDate", "EndDate") if key in props}
        )
        return created

    def create(stock: Callable[..., Created]) -> Callable[..., Created]:
        return lambda logical_id, props, stack_name: complete(stock(logical_id, with_network(props), stack_name), props)

    def update(stock: Callable[..., Created]) -> Callable[..., Created]:
        return lambda physical_id, old_props, new_props, stack_name: complete(
            stock(physical_id, with_network(old_props), with_network(new_props), stack_name), new_props
        )

    handlers = provisioners._RESOURCE_HANDLERS["AWS::Scheduler::Schedule"]
    replace(handlers, "create", "logical_id", "props", "stack_name", by=create)
    replace(handlers, "update", "physical_id", "old_props", "new_props", "stack_name", by=update)


def _limit_roles_by_their_boundaries() -> None:
    """A role from a template has the permissions boundary that it names, which the stock emulator drops."""

    def limited(made: Callable[[], Created], props: Json) -> Created:
        boundary = props.get("PermissionsBoundary")
        refused = iam._boundary_policy_error(boundary) if boundary else None
        if refused is not None:
            raise ValueError(refused[2].decode())
        created = made()
        iam._roles[created[0]]["PermissionsBoundary"] = boundary
        return created

    def create(stock: Callable[..., Created]) -> Callable[..., Created]:
        return lambda logical_id, props, stack_name: limited(lambda: stock(logical_id, props, stack_name), props)

    def update(stock: Callable[..., Created]) -> Callable[..., Created]:
        return lambda physical_id, old_props, new_props, stack_name, logical_id=None: limited(
            lambda: stock(physical_id, old_props, new_props, stack_name, logical_id=logical_id), new_props
        )

    handlers = provisioners._RESOURCE_HANDLERS["AWS::IAM::Role"]
    replace(handlers, "create", "logical_id", "props", "stack_name", by=create)
    replace(handlers, "update", "physical_id", "old_props", "new_props", "stack_name", "logical_id", by=update)


def _in_api_spelling(value: Any) -> Any:  # noqa: ANN401 -- any value of a template
    if isinstance(value, list):
        return [_in_api_spelling(item) for item in value]
    if not isinstance(value, dict):
        return value
    spelled = {key[:1].lower() + key[1:]: item for key, item in value.items()}
    return {key: item if key in _MAPS_OF_THE_USER else _in_api_spelling(item) for key, item in spelled.items()}
