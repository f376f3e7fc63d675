"""The network that the tasks run in, where it is there already."""

from collections.abc import Iterable
from typing import Any

from constructs_lib.warehouse_credentials import services
from preflight.findings import Clients, Finding, Findings, NotAllowedError, NotThereError, ask, fine, unknown, wrong
from stacks.settings import Environment, ExistingNetwork, OwnNetwork

Route = dict[str, Any]
_EVERY_TASK = ("ecr.api", "ecr.dkr", "logs")
_WAYS_OUT = ("NatGatewayId", "TransitGatewayId", "NetworkInterfaceId", "VpcPeeringConnectionId", "InstanceId")
"""What a default route may lead to so that a task without a public address gets out."""


def check_network(clients: Clients, environment: Environment) -> Findings:
    """Whether a task that starts here gets an address, its image, its credentials and a place for its log."""
    network = environment.network
    try:
        if isinstance(network, OwnNetwork):
            yield from _check_zones(clients, environment, network)
        else:
            yield from _check_existing(clients, environment, network)
    except NotAllowedError as error:
        yield unknown(f"the network: {error}")


def _check_zones(clients: Clients, environment: Environment, network: OwnNetwork) -> Findings:
    answer = ask(lambda: clients("ec2").describe_availability_zones())
    usable = sorted(zone["ZoneName"] for zone in answer["AvailabilityZones"] if zone["State"] == "available")
    missing = [zone for zone in network.availability_zones if zone not in usable]
    if missing:
        yield wrong(
            f"availability_zones names {', '.join(missing)}, which this account does not have in {environment.region}: "
            f"choose of {', '.join(usable)}"
        )
    else:
        yield fine(f"the availability zones {', '.join(network.availability_zones)} can be used")


def _check_existing(clients: Clients, environment: Environment, network: ExistingNetwork) -> Findings:
    ec2 = clients("ec2")
    try:
        ask(lambda: ec2.describe_vpcs(VpcIds=[network.vpc_id]), "InvalidVpcID.NotFound")
    except NotThereError:
        yield wrong(f"vpc_id names {network.vpc_id}, which is not in {environment.region} of this account: correct it")
        return
    yield fine(f"the VPC {network.vpc_id} is there")
    subnets = _subnets(ec2, network)
    for subnet_id in network.private_subnet_ids:
        yield _subnet_finding(subnet_id, subnets.get(subnet_id), environment, network)
    yield from _check_ways_out(
        ec2, environment, network, [name for name in network.private_subnet_ids if name in subnets]
    )
    yield from _check_security_groups(ec2, network)


def _subnets(ec2: Any, network: ExistingNetwork) -> dict[str, Any]:  # noqa: ANN401 - boto3 makes the types of its clients at run time
    # A filter, unlike a list of ids, leaves out what is not there.
    wanted = [{"Name": "subnet-id", "Values": list(network.private_subnet_ids)}]
    found = ask(lambda: ec2.describe_subnets(Filters=wanted))["Subnets"]
    return {subnet["SubnetId"]: subnet for subnet in found}


def _subnet_finding(
    subnet_id: str, subnet: dict[str, Any] | None, environment: Environment, network: ExistingNetwork
) -> Finding:
    if subnet is None:
        return wrong(f"private_subnet_ids names {subnet_id}, which is not in this account and region: correct it")
    if subnet["VpcId"] != network.vpc_id:
        return wrong(
            f"subnet {subnet_id} is in {subnet['VpcId']}, not in {network.vpc_id}: correct one of the two settings"
        )
    if subnet["AvailabilityZone"] not in network.availability_zones:
        return wrong(
            f"subnet {subnet_id} is in {subnet['AvailabilityZone']}, which availability_zones does not name: add the zone"
        )
    free, needed = subnet["AvailableIpAddressCount"], len(environment.projects)
    if free < needed:
        return wrong(
            f"subnet {subnet_id} has {free} free addresses, and each of the {needed} projects takes one while it runs: "
            "free some or choose a larger subnet"
        )
    return fine(f"subnet {subnet_id} in {subnet['AvailabilityZone']} has {free} free addresses")


def _check_ways_out(
    ec2: Any,  # noqa: ANN401 - boto3 makes the types of its clients at run time
    environment: Environment,
    network: ExistingNetwork,
    subnet_ids: Iterable[str],
) -> Findings:
    in_vpc = [{"Name": "vpc-id", "Values": [network.vpc_id]}]
    tables = ask(lambda: ec2.describe_route_tables(Filters=in_vpc))["RouteTables"]
    endpoints = [
        endpoint
        for endpoint in ask(lambda: ec2.describe_vpc_endpoints(Filters=in_vpc))["VpcEndpoints"]
        if endpoint["State"].lower() == "available"
    ]
    for subnet_id in subnet_ids:
        table = _route_table(tables, subnet_id)
        default = next((route for route in table["Routes"] if route.get("DestinationCidrBlock") == "0.0.0.0/0"), None)
        if default is None:
            yield from _missing_endpoints(environment, subnet_id, table["RouteTableId"], endpoints)
        elif any(default.get(way) for way in _WAYS_OUT):
            yield fine(f"subnet {subnet_id} has a way out, by {_target(default)}")
        else:
            yield wrong(
                f"subnet {subnet_id} leads to the internet by {_target(default)}, which a task without a public address cannot "
                "use: choose a private subnet, with a NAT gateway or with VPC endpoints"
            )


def _route_table(tables: list[dict[str, Any]], subnet_id: str) -> dict[str, Any]:
    """The table of the subnet: its own, or else the VPC's main one."""
    own = [table for table in tables for link in table["Associations"] if link.get("SubnetId") == subnet_id]
    main = [table for table in tables for link in table["Associations"] if link.get("Main")]
    return (own or main)[0]


def _target(route: Route) -> str:
    keys = (*_WAYS_OUT, "GatewayId", "EgressOnlyInternetGatewayId")
    return next((str(route[key]) for key in keys if route.get(key)), "a target that is gone")


def _missing_endpoints(
    environment: Environment, subnet_id: str, route_table_id: str, endpoints: list[dict[str, Any]]
) -> Findings:
    prefix = f"com.amazonaws.{environment.region}."
    there = {
        endpoint["ServiceName"].removeprefix(prefix)
        for endpoint in endpoints
        if (endpoint["VpcEndpointType"] == "Gateway" and route_table_id in endpoint["RouteTableIds"])
        or (endpoint["VpcEndpointType"] == "Interface" and endpoint.get("PrivateDnsEnabled"))
    }
    sources = {service for project in environment.projects for service in services(project.credentials)}
    missing = [name for name in (*_EVERY_TASK, "s3", *sorted(sources)) if name not in there]
    if not missing:
        yield fine(f"subnet {subnet_id} has no way out and every endpoint that a task needs")
    for name in missing:
        kind = (
            f"a gateway endpoint with route table {route_table_id}"
            if name == "s3"
            else "an interface endpoint with private DNS"
        )
        yield wrong(f"subnet {subnet_id} has no way out and no endpoint {prefix}{name}: add {kind}, or a NAT gateway")


def _check_security_groups(ec2: Any, network: ExistingNetwork) -> Findings:  # noqa: ANN401 - boto3 makes the types of its clients at run time
    if not network.security_group_ids:
        return
    wanted = [{"Name": "group-id", "Values": list(network.security_group_ids)}]
    found = {
        group["GroupId"]: group["VpcId"]
        for group in ask(lambda: ec2.describe_security_groups(Filters=wanted))["SecurityGroups"]
    }
    for group_id in network.security_group_ids:
        if group_id not in found:
            yield wrong(f"security_group_ids names {group_id}, which is not in this account and region: correct it")
        elif found[group_id] != network.vpc_id:
            yield wrong(
                f"security group {group_id} is in {found[group_id]}, not in {network.vpc_id}: choose one of that VPC"
            )
        else:
            yield fine(f"security group {group_id} is there")


def check_cluster(clients: Clients, environment: Environment) -> Findings:
    """Whether a cluster that is there already can run the tasks."""
    if environment.cluster is None:
        return
    name = environment.cluster.name
    try:
        found = ask(lambda: clients("ecs").describe_clusters(clusters=[name]))["clusters"]
    except NotAllowedError as error:
        yield unknown(f"the cluster {name}: {error}")
        return
    if not found or found[0]["status"] != "ACTIVE":
        yield wrong(f"cluster {name} is not there or not active: make it, or leave `cluster` out to get one of our own")
        return
    wants_spot = any(project.capacity == "fargate_spot" for project in environment.projects)
    if wants_spot and "FARGATE_SPOT" not in found[0].get("capacityProviders", []):
        yield wrong(
            f"cluster {name} does not offer FARGATE_SPOT, which a project asks for: add the capacity provider with "
            "`aws ecs put-cluster-capacity-providers`"
        )
        return
    yield fine(f"cluster {name} is active")
