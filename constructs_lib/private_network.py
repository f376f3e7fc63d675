"""A VPC of our own, for environments that have none."""

from collections.abc import Sequence

from aws_cdk import RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from constructs_lib.encrypted_log_group import encrypted_log_group
from constructs_lib.findings import acknowledge, acknowledge_template_rules

_ENDPOINTS_OF_EVERY_TASK = {
    "EcrApi": ec2.InterfaceVpcEndpointAwsService.ECR,
    "EcrDocker": ec2.InterfaceVpcEndpointAwsService.ECR_DOCKER,
    "Logs": ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS,
}
_ENDPOINTS = {
    "glue": ("Glue", ec2.InterfaceVpcEndpointAwsService.GLUE),
    "kms": ("Kms", ec2.InterfaceVpcEndpointAwsService.KMS),
    "redshift": ("Redshift", ec2.InterfaceVpcEndpointAwsService.REDSHIFT),
    "redshift-serverless": ("RedshiftServerless", ec2.InterfaceVpcEndpointAwsService.REDSHIFT_SERVERLESS),
    "secretsmanager": ("SecretsManager", ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER),
    "ssm": ("Ssm", ec2.InterfaceVpcEndpointAwsService.SSM),
}


def interface_endpoint_count(credentials_services: Sequence[str]) -> int:
    """How many interface endpoints a network has whose projects' credentials come from these services; each is paid for."""
    return len(_ENDPOINTS_OF_EVERY_TASK) + len(credentials_services)


class PrivateNetwork(Construct):
    """
    Defines a VPC of private subnets with no way to the internet, and the endpoints that a task needs.

    `credentials_services`: the services that the projects' credentials come from, such as "glue"; each gets an endpoint.
    `flow_log_retention`: how long flow logs are kept; None records none.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cidr: str,
        availability_zones: Sequence[str],
        credentials_services: Sequence[str],
        flow_log_retention: logs.RetentionDays | None,
        log_removal_policy: RemovalPolicy,
        encryption_key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, construct_id)

        self.vpc = ec2.Vpc(
            self,
            "Resource",
            ip_addresses=ec2.IpAddresses.cidr(cidr),
            # Given, because CDK would otherwise ask AWS for them.
            availability_zones=list(availability_zones),
            nat_gateways=0,
            restrict_default_security_group=False,
            subnet_configuration=[ec2.SubnetConfiguration(name="Private", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)],
            gateway_endpoints={"S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)},
        )
        acknowledge(
            self.vpc,
            {
                "NIST.800.53.R5-VPCDefaultSecurityGroupClosed": "Nothing uses the default security group; closing it would take "
                "a function with rights on security groups."
            },
        )
        acknowledge_template_rules(self.vpc, {"W3010": "The zones are settings: nothing is looked up during synth."})
        self._define_endpoints(cidr, credentials_services)
        self._define_flow_logs(flow_log_retention, log_removal_policy, encryption_key)

    def _define_endpoints(self, cidr: str, credentials_services: Sequence[str]) -> None:
        security_group = ec2.SecurityGroup(
            self,
            "EndpointSecurityGroup",
            vpc=self.vpc,
            description="AWS endpoints, reached from inside the VPC",
            allow_all_outbound=False,
        )
        security_group.add_ingress_rule(ec2.Peer.ipv4(cidr), ec2.Port.HTTPS, "from inside the VPC")
        services = {**_ENDPOINTS_OF_EVERY_TASK, **dict(_ENDPOINTS[service] for service in sorted(credentials_services))}
        for endpoint_id, service in services.items():
            self.vpc.add_interface_endpoint(
                endpoint_id, service=service, security_groups=[security_group], open=False, private_dns_enabled=True
            )

    def _define_flow_logs(
        self, retention: logs.RetentionDays | None, removal_policy: RemovalPolicy, encryption_key: kms.IKey | None
    ) -> None:
        if retention is None:
            no_flow_logs = "The settings say that this environment records no flow logs."
            acknowledge(
                self.vpc, {"AwsSolutions-VPC7": no_flow_logs, "NIST.800.53.R5-VPCFlowLogsEnabled": no_flow_logs}
            )
            return
        log_group = encrypted_log_group(
            self, "FlowLogs", retention=retention, removal_policy=removal_policy, encryption_key=encryption_key
        )
        self.vpc.add_flow_log("FlowLog", destination=ec2.FlowLogDestination.to_cloud_watch_logs(log_group))
