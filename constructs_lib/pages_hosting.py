"""CloudFront in front of the pages of an environment."""

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from constructs import Construct

from constructs_lib.edge_function import edge_function_code
from constructs_lib.findings import acknowledge
from constructs_lib.pages_access import PagesHosting, PriceClass
from constructs_lib.pages_headers import CSP_OF_DOCS, CSP_OF_PAGES, CSP_OF_REPORTS, headers_policy
from constructs_lib.place import place_of
from constructs_lib.sign_in_functions import SignInFunctions

FIRST_PAGE = "/_pages/index.html"
NOT_FOUND_PAGE = "/_pages/not-found.html"
READABLE_KEYS = ("_pages/*", "*/history/*.json", "*/docs/*", "*/runs/*/report.html", "*/runs/*/end.json")
"""What CloudFront may read of the bucket: what pages are made of and link to, and none of the record besides."""

_DAYS_OF_ACCESS_LOGS = 400
_PRICE_CLASSES: dict[PriceClass, cloudfront.PriceClass] = {
    "100": cloudfront.PriceClass.PRICE_CLASS_100,
    "200": cloudfront.PriceClass.PRICE_CLASS_200,
    "all": cloudfront.PriceClass.PRICE_CLASS_ALL,
}
_TLS_HEADER = "CloudFront-Viewer-TLS"


class HostedPages(Construct):
    """
    Defines the distribution that answers with the pages in `bucket`, for those alone whom `hosting` lets in.

    CloudFront's function looks at each request, also at one that the cache could answer. The bucket lets this distribution read
    `READABLE_KEYS`. `encryption_key` is what the bucket is encrypted with; the policy of one that is not of this app must let
    CloudFront decrypt (docs/hosting.md). `topic` hears when the key of sessions cannot be made anew.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        environment_name: str,
        hosting: PagesHosting,
        bucket: s3.Bucket,
        topic: sns.ITopic,
        runbook_url: str,
        keeps_data_on_destroy: bool,
        encryption_key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._hosting = hosting
        self._has_own_domain = hosting.domain_name is not None
        session_keys: cloudfront.KeyValueStore | None = None
        sign_in: lambda_.Function | None = None
        if hosting.sign_in is not None:
            session_keys = cloudfront.KeyValueStore(
                self, "SessionKeys", comment=f"Keys of the sessions of the pages of {environment_name}"
            )
            sign_in = SignInFunctions(
                self,
                "SignIn",
                environment_name=environment_name,
                sign_in=hosting.sign_in,
                session_keys=session_keys,
                topic=topic,
                runbook_url=runbook_url,
                encryption_key=encryption_key,
            ).function
        gate = self._define_gate(session_keys)
        self.distribution = self._define_distribution(
            environment_name,
            bucket=bucket,
            gate=gate,
            sign_in=sign_in,
            access_logs=self._define_access_logs(keeps_data_on_destroy=keeps_data_on_destroy),
        )
        self._allow_to_read(bucket, encryption_key)
        self.url = f"https://{hosting.domain_name or self.distribution.distribution_domain_name}/"

    def _define_gate(self, session_keys: cloudfront.KeyValueStore | None) -> cloudfront.FunctionAssociation:
        gate = cloudfront.Function(
            self,
            "Gate",
            runtime=cloudfront.FunctionRuntime.JS_2_0,
            code=cloudfront.FunctionCode.from_inline(
                edge_function_code(
                    networks=self._hosting.parsed_networks(),
                    signs_in=session_keys is not None,
                    domain_name=self._hosting.domain_name,
                    first_page=FIRST_PAGE,
                )
            ),
            key_value_store=session_keys,
        )
        return cloudfront.FunctionAssociation(event_type=cloudfront.FunctionEventType.VIEWER_REQUEST, function=gate)

    def _define_access_logs(self, *, keeps_data_on_destroy: bool) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            "AccessLogs",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            # CloudFront delivers by an ACL: https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logging-legacy-s3.html
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_PREFERRED,
            versioned=True,
            lifecycle_rules=[
                s3.LifecycleRule(
                    expiration=Duration.days(_DAYS_OF_ACCESS_LOGS), noncurrent_version_expiration=Duration.days(1)
                )
            ],
            removal_policy=RemovalPolicy.RETAIN if keeps_data_on_destroy else RemovalPolicy.DESTROY,
            auto_delete_objects=not keeps_data_on_destroy,
        )
        logging_ends = "This bucket is where access logs go; logging its own would not end."
        acknowledge(
            bucket,
            {
                "AwsSolutions-S1": logging_ends,
                "NIST.800.53.R5-S3BucketLoggingEnabled": logging_ends,
                "CKV_AWS_18": logging_ends,
                "NIST.800.53.R5-S3DefaultEncryptionKMS": "CloudFront delivers access logs into buckets that S3's own keys encrypt.",
                "NIST.800.53.R5-S3BucketReplicationEnabled": "Nothing that has to go on without this region needs them.",
                "NIST.800.53.R4-S3BucketDefaultLockEnabled": "They are no proof against who owns the account, and an environment that "
                "keeps no data must be able to take them along.",
            },
        )
        return bucket

    def _define_distribution(
        self,
        environment_name: str,
        *,
        bucket: s3.Bucket,
        gate: cloudfront.FunctionAssociation,
        sign_in: lambda_.Function | None,
        access_logs: s3.Bucket,
    ) -> cloudfront.Distribution:
        hosting = self._hosting
        access = cloudfront.S3OriginAccessControl(self, "ReadsBucket")
        origin = origins.S3BucketOrigin.with_bucket_defaults(
            bucket, origin_access_control_id=access.origin_access_control_id
        )
        cache_policy = cloudfront.CachePolicy(
            self,
            "Cache",
            comment="As long as an object's own header says, and else not",
            min_ttl=Duration.seconds(0),
            default_ttl=Duration.seconds(0),
            max_ttl=Duration.days(1),
            enable_accept_encoding_brotli=True,
            enable_accept_encoding_gzip=True,
        )
        # For the function at the edge, which refuses old versions of TLS; with a name of one's own CloudFront does so itself.
        tells_tls = None
        if not self._has_own_domain:
            tells_tls = cloudfront.OriginRequestPolicy(
                self, "TellsTls", header_behavior=cloudfront.OriginRequestHeaderBehavior.allow_list(_TLS_HEADER)
            )

        def pages(kind: str, content_security_policy: str) -> cloudfront.BehaviorOptions:
            return cloudfront.BehaviorOptions(
                origin=origin,
                viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.HTTPS_ONLY,
                allowed_methods=cloudfront.AllowedMethods.ALLOW_GET_HEAD,
                cache_policy=cache_policy,
                origin_request_policy=tells_tls,
                response_headers_policy=headers_policy(
                    self,
                    f"HeadersOf{kind}",
                    comment=f"{kind} of {environment_name}",
                    content_security_policy=content_security_policy,
                ),
                compress=True,
                function_associations=[gate],
            )

        of_pages = pages("Pages", CSP_OF_PAGES)
        behaviors = {
            "/*/docs/*": pages("Docs", CSP_OF_DOCS),
            "/*/runs/*/report.html": pages("Reports", CSP_OF_REPORTS),
        }
        if sign_in is not None:
            behaviors["/auth/*"] = self._sign_in_behavior(sign_in, gate, of_pages)
        certificate = (
            acm.Certificate.from_certificate_arn(self, "Certificate", hosting.certificate_arn)
            if hosting.certificate_arn is not None
            else None
        )
        distribution = cloudfront.Distribution(
            self,
            "Resource",
            comment=f"Pages of the dbt projects of {environment_name}",
            default_behavior=of_pages,
            additional_behaviors=behaviors,
            domain_names=[hosting.domain_name] if hosting.domain_name is not None else None,
            certificate=certificate,
            minimum_protocol_version=cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021 if certificate else None,
            http_version=cloudfront.HttpVersion.HTTP2_AND_3,
            price_class=_PRICE_CLASSES[hosting.price_class],
            web_acl_id=hosting.web_acl_arn,
            enable_logging=True,
            log_bucket=access_logs,
            # They would hold sessions.
            log_includes_cookies=False,
            error_responses=[
                # S3 says 403 of what is missing to whom it does not let list the bucket, and CloudFront is not: the names of all
                # files of all runs would be one hole in the gate away from everyone, for one digit. So both are a missing page
                # here; the sign-in refuses with 401, which is not replaced. Where nothing can be decrypted, this page cannot be
                # either, and the 403 stays. What is missing now may be there after the next run.
                cloudfront.ErrorResponse(
                    http_status=status,
                    response_http_status=404,
                    response_page_path=NOT_FOUND_PAGE,
                    ttl=Duration.seconds(0),
                )
                for status in (403, 404)
            ],
        )
        self._acknowledge(distribution)
        return distribution

    def _sign_in_behavior(
        self,
        sign_in: lambda_.Function,
        gate: cloudfront.FunctionAssociation,
        of_pages: cloudfront.BehaviorOptions,
    ) -> cloudfront.BehaviorOptions:
        url = sign_in.add_function_url(auth_type=lambda_.FunctionUrlAuthType.AWS_IAM)
        headers = ["x-pages-host", "Sec-Fetch-Site", *([] if self._has_own_domain else [_TLS_HEADER])]
        return cloudfront.BehaviorOptions(
            origin=origins.FunctionUrlOrigin.with_origin_access_control(url),
            viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.HTTPS_ONLY,
            allowed_methods=cloudfront.AllowedMethods.ALLOW_GET_HEAD,
            cache_policy=cloudfront.CachePolicy.CACHING_DISABLED,
            origin_request_policy=cloudfront.OriginRequestPolicy(
                self,
                "AsksSignIn",
                cookie_behavior=cloudfront.OriginRequestCookieBehavior.allow_list("__Host-pages-login"),
                header_behavior=cloudfront.OriginRequestHeaderBehavior.allow_list(*headers),
                query_string_behavior=cloudfront.OriginRequestQueryStringBehavior.all(),
            ),
            response_headers_policy=of_pages.response_headers_policy,
            function_associations=[gate],
        )

    def _allow_to_read(self, bucket: s3.Bucket, encryption_key: kms.IKey | None) -> None:
        place = place_of(self)
        distributions = f"arn:{place.partition}:cloudfront::{place.account}:distribution/"
        cloudfront_service = iam.ServicePrincipal("cloudfront.amazonaws.com")
        bucket.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["s3:GetObject"],
                principals=[cloudfront_service],
                resources=[bucket.arn_for_objects(keys) for keys in READABLE_KEYS],
                conditions={"StringEquals": {"aws:SourceArn": f"{distributions}{self.distribution.distribution_id}"}},
            )
        )
        if encryption_key is not None:
            # The distribution names the bucket and the bucket names the key: a key that named the distribution would close the
            # circle. Which objects it reads is said by the bucket.
            encryption_key.add_to_resource_policy(
                iam.PolicyStatement(
                    actions=["kms:Decrypt"],
                    principals=[cloudfront_service],
                    # In a key's policy: this key.
                    resources=["*"],
                    conditions={"ArnLike": {"aws:SourceArn": f"{distributions}*"}},
                )
            )

    def _acknowledge(self, distribution: cloudfront.Distribution) -> None:
        who = "Its function lets in those alone whom the settings name, and signs them in or looks at their network."
        reasons = {
            "AwsSolutions-CFR1": who,
            "CKV_AWS_374": who,
            "CKV_AWS_305": "Its function sends the root to the first page, so that what this loads lies beside it.",
            "CKV_AWS_310": "There is one bucket of pages, without a copy in another region.",
        }
        if self._hosting.web_acl_arn is None:
            firewall = f"{who} The settings name no web ACL (web_acl_arn)."
            reasons |= {"AwsSolutions-CFR2": firewall, "CKV_AWS_68": firewall, "CKV2_AWS_47": firewall}
        if not self._has_own_domain:
            tls = (
                "CloudFront decides this for its own names. Its function refuses versions of TLS before 1.2 there; "
                "with domain_name in the settings it is TLSv1.2_2021."
            )
            reasons |= {"AwsSolutions-CFR4": tls, "CKV_AWS_174": tls}
        acknowledge(distribution, reasons)
