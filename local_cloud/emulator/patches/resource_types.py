"""Types of CloudFormation resources that the stock emulator refuses although its API has what they are made of."""

from collections.abc import Callable
from typing import Any

from local_cloud.emulator.patches.clients import root_client
from local_cloud.emulator.patches.stock import Json, StockEmulatorChangedError, provisioners, replace, stacks

Created = tuple[str, Json]


def apply() -> None:
    """Apply the patches of this module."""
    add_type("AWS::EC2::FlowLog", create=_create_flow_log, delete=_delete_flow_log)
    add_type(
        "AWS::EC2::SecurityGroupIngress",
        create=lambda props: _authorize("ingress", props),
        delete=lambda _, props: _revoke("ingress", props),
    )
    add_type(
        "AWS::EC2::SecurityGroupEgress",
        create=lambda props: _authorize("egress", props),
        delete=lambda _, props: _revoke("egress", props),
    )
    add_type(
        "AWS::ECS::ClusterCapacityProviderAssociations",
        create=_associate_capacity_providers,
        delete=lambda cluster, _: _put_capacity_providers(cluster, [], []),
    )
    add_type("AWS::IAM::OIDCProvider", create=_create_oidc_provider, delete=_delete_oidc_provider)

    # They call the emulator itself, which must be free to answer meanwhile.
    replace(
        stacks,
        "_runs_on_worker_thread",
        "resource_type",
        by=lambda stock: lambda resource_type: resource_type in _added or stock(resource_type),
    )


_added: set[str] = set()


def add_type(resource_type: str, *, create: Callable[[Json], Created], delete: Callable[[str, Json], None]) -> None:
    """Let templates have `resource_type`; a change of it makes a new one in the place of the old one."""
    if resource_type in provisioners._RESOURCE_HANDLERS:
        raise StockEmulatorChangedError(f"the emulator has {resource_type} of its own now")

    def update(physical_id: str, old_props: Json, new_props: Json, _stack_name: str) -> Created:
        delete(physical_id, old_props)
        return create(new_props)

    _added.add(resource_type)
    provisioners._RESOURCE_HANDLERS[resource_type] = {
        "create": lambda _logical_id, props, _stack_name: create(props),
        "update": update,
        "delete": delete,
    }


def _create_flow_log(props: Json) -> Created:
    request = {key: props[key] for key in ("LogDestinationType", "LogGroupName", "LogDestination") if key in props}
    if "DeliverLogsPermissionArn" in props:
        request["DeliverLogsPermissionArn"] = props["DeliverLogsPermissionArn"]
    answer = root_client("ec2").create_flow_logs(
        ResourceIds=[props["ResourceId"]],
        ResourceType=props["ResourceType"],
        TrafficType=props.get("TrafficType", "ALL"),
        **request,
    )
    flow_log_id = answer["FlowLogIds"][0]
    return flow_log_id, {"Id": flow_log_id}


def _delete_flow_log(physical_id: str, _props: Json) -> None:
    root_client("ec2").delete_flow_logs(FlowLogIds=[physical_id])


def _create_oidc_provider(props: Json) -> Created:
    answer = root_client("iam").create_open_id_connect_provider(
        Url=props["Url"], ClientIDList=props.get("ClientIdList", []), ThumbprintList=props.get("ThumbprintList", [])
    )
    arn = answer["OpenIDConnectProviderArn"]
    return arn, {"Arn": arn}


def _delete_oidc_provider(physical_id: str, _props: Json) -> None:
    root_client("iam").delete_open_id_connect_provider(OpenIDConnectProviderArn=physical_id)


def _authorize(direction: str, props: Json) -> Created:
    getattr(root_client("ec2"), f"authorize_security_group_{direction}")(
        GroupId=props["GroupId"], IpPermissions=[_ip_permission(direction, props)]
    )
    rule_id = "-".join(str(props.get(key, "")) for key in ("GroupId", "IpProtocol", "FromPort", "ToPort"))
    return f"{direction}-{rule_id}", {"Id": rule_id}


def _revoke(direction: str, props: Json) -> None:
    getattr(root_client("ec2"), f"revoke_security_group_{direction}")(
        GroupId=props["GroupId"], IpPermissions=[_ip_permission(direction, props)]
    )


def _ip_permission(direction: str, props: Json) -> Json:
    permission: Json = {"IpProtocol": str(props["IpProtocol"])}
    permission |= {port: int(props[port]) for port in ("FromPort", "ToPort") if port in props}
    described = {"Description": props["Description"]} if "Description" in props else {}
    peer_group = props.get("SourceSecurityGroupId" if direction == "ingress" else "DestinationSecurityGroupId")
    prefix_list = props.get("SourcePrefixListId" if direction == "ingress" else "DestinationPrefixListId")
    if "CidrIp" in props:
        permission["IpRanges"] = [{"CidrIp": props["CidrIp"], **described}]
    if "CidrIpv6" in props:
        permission["Ipv6Ranges"] = [{"CidrIpv6": props["CidrIpv6"], **described}]
    if peer_group:
        permission["UserIdGroupPairs"] = [{"GroupId": peer_group, **described}]
    if prefix_list:
        permission["PrefixListIds"] = [{"PrefixListId": prefix_list, **described}]
    return permission


def _associate_capacity_providers(props: Json) -> Created:
    strategy = [
        {key[:1].lower() + key[1:]: value for key, value in item.items()}
        for item in props.get("DefaultCapacityProviderStrategy", [])
    ]
    _put_capacity_providers(props["Cluster"], props.get("CapacityProviders", []), strategy)
    return props["Cluster"], {}


def _put_capacity_providers(cluster: str, names: list[str], strategy: list[dict[str, Any]]) -> None:
    root_client("ecs").put_cluster_capacity_providers(
        cluster=cluster, capacityProviders=names, defaultCapacityProviderStrategy=strategy
    )
