"""What a task may reach on the network."""

from aws_cdk import aws_ec2 as ec2
from constructs import Construct


class TaskSecurityGroup(Construct):
    """Defines a security group that lets a task out to the warehouse and to AWS over TLS, and nothing in."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        vpc: ec2.IVpc,
        warehouse_port: int,
        warehouse_peer: ec2.IPeer,
    ) -> None:
        super().__init__(scope, construct_id)

        self.security_group = ec2.SecurityGroup(
            self, "Resource", vpc=vpc, description="dbt tasks: out to the warehouse and AWS", allow_all_outbound=False
        )
        self.security_group.add_egress_rule(warehouse_peer, ec2.Port.tcp(warehouse_port), "warehouse")
        # S3's gateway endpoint has public addresses, and no list of them is known without asking AWS.
        self.security_group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.HTTPS, "AWS services over TLS")
