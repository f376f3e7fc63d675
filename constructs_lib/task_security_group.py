"""What a task may reach on the network."""

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

_TLS_PORT = 443
_ANYWHERE = "0.0.0.0/0"


class TaskSecurityGroup(Construct):
    """
    Defines a security group that lets a task out to the warehouse and to AWS over TLS, and nothing in.

    The warehouse is the security group `warehouse_security_group_id`, else the addresses `warehouse_cidr`, else anywhere.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        vpc_id: str,
        warehouse_port: int,
        warehouse_security_group_id: str | None,
        warehouse_cidr: str | None,
    ) -> None:
        super().__init__(scope, construct_id)

        peer = (
            {"destination_security_group_id": warehouse_security_group_id}
            if warehouse_security_group_id
            else {"cidr_ip": warehouse_cidr or _ANYWHERE}
        )
        rules = [_egress(warehouse_port, "warehouse", **peer)]
        if (warehouse_port, peer.get("cidr_ip")) != (_TLS_PORT, _ANYWHERE):
            # S3's gateway endpoint has public addresses, and no list of them is known without asking AWS.
            rules.append(_egress(_TLS_PORT, "AWS services over TLS", cidr_ip=_ANYWHERE))
        # The L2 constructs of group, peer and port take six calls more of CDK's Node process to say the same.
        self.security_group_id = ec2.CfnSecurityGroup(
            # Its logical id is made of this path; another one would be another group to a warehouse that lets this one in.
            Construct(self, "Resource"),
            "Resource",
            vpc_id=vpc_id,
            group_description="dbt tasks: out to the warehouse and AWS",
            security_group_egress=rules,
        ).attr_group_id


def _egress(port: int, description: str, **peer: str) -> ec2.CfnSecurityGroup.EgressProperty:
    return ec2.CfnSecurityGroup.EgressProperty(
        ip_protocol="tcp", from_port=port, to_port=port, description=description, **peer
    )
