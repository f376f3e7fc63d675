"""What people would have heard."""

import json

from local_cloud.account import LocalAccount


class Alerts:
    """A subscriber of an alert topic: a queue can be read by a test, people subscribe by email."""

    def __init__(self, account: LocalAccount, *, topic_arn: str, queue_name: str) -> None:
        self._sqs = account.client("sqs")
        self._queue_url = str(self._sqs.create_queue(QueueName=queue_name)["QueueUrl"])
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue_url, AttributeNames=["QueueArn"])
        queue_arn = attributes["Attributes"]["QueueArn"]
        allowed = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": queue_arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        self._sqs.set_queue_attributes(QueueUrl=self._queue_url, Attributes={"Policy": policy})
        account.client("sns").subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=queue_arn)

    def read(self) -> list[str]:
        """What has come since the last call."""
        texts = []
        while messages := self._sqs.receive_message(
            QueueUrl=self._queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=2
        ).get("Messages"):
            for message in messages:
                texts.append(json.loads(message["Body"])["Message"])
                self._sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"])
        return texts
