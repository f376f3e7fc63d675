"""The bucket of run records and docs."""

import string

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from constructs_lib.cdk_functions import AUTO_DELETE_OBJECTS, acknowledge_cdk_function, limit_trust_of_auto_delete
from constructs_lib.encryption import acknowledge_keys_of_aws
from constructs_lib.findings import acknowledge
from constructs_lib.place import place_of

_DAYS_UNTIL_CHEAPER_STORAGE = 60
_DAYS_OF_REPLACED_VERSIONS = 30
_DAYS_OF_ACCESS_LOGS = 400


class ArtifactsBucket(Construct):
    """
    Defines the bucket of run records and docs, and the bucket of its access logs.

    Both take TLS requests only, are closed to the public and keep replaced versions for a month. `expire_after_days` after it
    was written, an object of a project is gone; records of a removed project need no clean-up. `encryption_key` encrypts records and docs;
    None: S3's own keys.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        expire_after_days: int,
        keeps_data_on_destroy: bool,
        encryption_key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, construct_id)
        removal_policy = RemovalPolicy.RETAIN if keeps_data_on_destroy else RemovalPolicy.DESTROY

        access_logs = s3.Bucket(
            self,
            "AccessLogs",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=True,
            lifecycle_rules=[
                s3.LifecycleRule(
                    expiration=Duration.days(_DAYS_OF_ACCESS_LOGS),
                    noncurrent_version_expiration=Duration.days(1),
                )
            ],
            removal_policy=removal_policy,
            auto_delete_objects=not keeps_data_on_destroy,
        )
        logging_ends = "This bucket is where access logs go; logging its own would not end."
        acknowledge(
            access_logs,
            {
                "AwsSolutions-S1": logging_ends,
                "CKV_AWS_18": logging_ends,
                # https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html
                "NIST.800.53.R5-S3DefaultEncryptionKMS": "S3 delivers access logs into buckets that S3's own keys encrypt.",
                "NIST.800.53.R5-S3BucketReplicationEnabled": "Nothing that has to go on without this region needs them.",
                "NIST.800.53.R4-S3BucketDefaultLockEnabled": "They are no proof against who owns the account, and an environment that "
                "keeps no data must be able to take them along.",
            },
        )

        self.bucket = s3.Bucket(
            self,
            "Resource",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.KMS if encryption_key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=encryption_key,
            bucket_key_enabled=True if encryption_key else None,
            enforce_ssl=True,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=True,
            server_access_logs_bucket=access_logs,
            lifecycle_rules=[
                s3.LifecycleRule(
                    abort_incomplete_multipart_upload_after=Duration.days(7),
                    noncurrent_version_expiration=Duration.days(_DAYS_OF_REPLACED_VERSIONS),
                ),
                # What a deployment writes (`_pages/`) is written once for years and must not expire. A rule names no exception,
                # so there is one for each letter that a project's name can begin with.
                *(
                    s3.LifecycleRule(
                        prefix=letter,
                        expiration=Duration.days(expire_after_days),
                        transitions=self._transitions(expire_after_days),
                    )
                    for letter in string.ascii_lowercase
                ),
            ],
            removal_policy=removal_policy,
            auto_delete_objects=not keeps_data_on_destroy,
        )

        acknowledge_cdk_function(self, AUTO_DELETE_OBJECTS)
        limit_trust_of_auto_delete(self, place_of(self).account)
        acknowledge_keys_of_aws(self.bucket, encryption_key, "NIST.800.53.R5-S3DefaultEncryptionKMS")
        acknowledge(
            self.bucket,
            {
                "NIST.800.53.R5-S3BucketReplicationEnabled": "Runs make records and docs anew; what they tell of the past is "
                "kept from mistakes by versions, and is not needed to go on in another region.",
                "NIST.800.53.R4-S3BucketDefaultLockEnabled": "What it holds is replaced, made to expire and destroyed as the settings "
                "say; versions keep what was replaced by mistake.",
            },
        )

    @staticmethod
    def _transitions(expire_after_days: int) -> list[s3.Transition]:
        # Infrequent access is billed for at least 30 days.
        if expire_after_days < _DAYS_UNTIL_CHEAPER_STORAGE + 30:
            return []
        return [
            s3.Transition(
                storage_class=s3.StorageClass.INFREQUENT_ACCESS,
                transition_after=Duration.days(_DAYS_UNTIL_CHEAPER_STORAGE),
            )
        ]
