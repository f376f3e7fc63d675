/**
 * Makes the key of the sessions anew, as a rotation of Secrets Manager, and gives CloudFront a copy.
 *
 * A version of the secret is a key: its id names it in cookies and in CloudFront's key value store. The store has the key before
 * anything is signed with it, and keeps the one before until the next rotation, so that nobody is signed out.
 *
 * https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html
 */
import { randomBytes } from "node:crypto";
import { setTimeout } from "node:timers/promises";

import {
  CloudFrontKeyValueStoreClient,
  DescribeKeyValueStoreCommand,
  UpdateKeysCommand,
  paginateListKeys,
} from "@aws-sdk/client-cloudfront-keyvaluestore";
import "@aws-sdk/signature-v4a";
import {
  DescribeSecretCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  ResourceNotFoundException,
  SecretsManagerClient,
  UpdateSecretVersionStageCommand,
} from "@aws-sdk/client-secrets-manager";

export interface Rotation {
  readonly Step: string;
  readonly SecretId: string;
  readonly ClientRequestToken: string;
}

const secrets = new SecretsManagerClient({});
const edge = new CloudFrontKeyValueStoreClient({});
const KvsARN = process.env["KEY_VALUE_STORE_ARN"];
const PROPAGATION_SECONDS = Number(process.env["PROPAGATION_SECONDS"] ?? 30);

export async function handler(rotation: Rotation): Promise<void> {
  switch (rotation.Step) {
    case "createSecret":
      await createKey(rotation);
      break;
    case "setSecret":
      await giveToCloudFront(rotation);
      // CloudFront's places have it within seconds; a cookie that is signed before would not be known there.
      await setTimeout(PROPAGATION_SECONDS * 1000);
      break;
    case "testSecret":
      await checkCloudFront(rotation);
      break;
    case "finishSecret":
      await useFromNowOn(rotation);
      break;
    default:
      throw new Error(`a rotation's step must be createSecret, setSecret, testSecret or finishSecret, got ${rotation.Step}`);
  }
  console.log(JSON.stringify({ message: "rotation", step: rotation.Step, key: rotation.ClientRequestToken }));
}

async function createKey({ SecretId, ClientRequestToken }: Rotation): Promise<void> {
  // Lambda may be called twice for one step.
  if ((await pendingKey({ SecretId, ClientRequestToken })) !== undefined) return;
  await secrets.send(
    new PutSecretValueCommand({
      SecretId,
      ClientRequestToken,
      SecretString: randomBytes(32).toString("hex"),
      VersionStages: ["AWSPENDING"],
    }),
  );
}

async function pendingKey(rotation: Pick<Rotation, "ClientRequestToken" | "SecretId">): Promise<string | undefined> {
  try {
    const answer = await secrets.send(
      new GetSecretValueCommand({
        SecretId: rotation.SecretId,
        VersionId: rotation.ClientRequestToken,
        VersionStage: "AWSPENDING",
      }),
    );
    return answer.SecretString;
  } catch (error) {
    if (error instanceof ResourceNotFoundException) return undefined;
    throw error;
  }
}

async function giveToCloudFront(rotation: Rotation): Promise<void> {
  const key = await pendingKey(rotation);
  if (key === undefined) throw new Error(`version ${rotation.ClientRequestToken} must be pending`);
  const current = (await currentVersion(rotation.SecretId)) ?? rotation.ClientRequestToken;
  const keep = new Set([current, rotation.ClientRequestToken]);
  const { ETag } = await edge.send(new DescribeKeyValueStoreCommand({ KvsARN }));
  await edge.send(
    new UpdateKeysCommand({
      KvsARN,
      IfMatch: ETag,
      Puts: [{ Key: rotation.ClientRequestToken, Value: key }],
      Deletes: (await keysOfCloudFront()).filter((name) => !keep.has(name)).map((Key) => ({ Key })),
    }),
  );
}

async function checkCloudFront(rotation: Rotation): Promise<void> {
  if (!(await keysOfCloudFront()).includes(rotation.ClientRequestToken)) {
    throw new Error(`CloudFront must have key ${rotation.ClientRequestToken}`);
  }
}

async function useFromNowOn({ SecretId, ClientRequestToken }: Rotation): Promise<void> {
  const current = await currentVersion(SecretId);
  if (current === ClientRequestToken) return;
  await secrets.send(
    new UpdateSecretVersionStageCommand({
      SecretId,
      VersionStage: "AWSCURRENT",
      MoveToVersionId: ClientRequestToken,
      ...(current === undefined ? {} : { RemoveFromVersionId: current }),
    }),
  );
}

async function currentVersion(SecretId: string): Promise<string | undefined> {
  const { VersionIdsToStages: stages = {} } = await secrets.send(new DescribeSecretCommand({ SecretId }));
  return Object.keys(stages).find((version) => stages[version]?.includes("AWSCURRENT"));
}

async function keysOfCloudFront(): Promise<string[]> {
  const names: string[] = [];
  for await (const { Items = [] } of paginateListKeys({ client: edge }, { KvsARN })) {
    names.push(...Items.flatMap(({ Key }) => (Key === undefined ? [] : [Key])));
  }
  return names;
}
