/** Secrets of AWS Secrets Manager, remembered for a few minutes: a secret that was changed works soon after. */
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";

const REMEMBERED_MS = 5 * 60 * 1000;

export interface Secret {
  readonly text: string;
  readonly versionId: string;
}

const client = new SecretsManagerClient({});
const remembered = new Map<string, { secret: Secret; until: number }>();

export async function currentSecret(arn: string): Promise<Secret> {
  const known = remembered.get(arn);
  if (known && known.until > Date.now()) return known.secret;
  const answer = await client.send(new GetSecretValueCommand({ SecretId: arn }));
  if (answer.SecretString === undefined || answer.VersionId === undefined) {
    throw new Error(`secret ${arn} must be text`);
  }
  const secret = { text: answer.SecretString, versionId: answer.VersionId };
  remembered.set(arn, { secret, until: Date.now() + REMEMBERED_MS });
  return secret;
}

export function forget(arn: string): void {
  remembered.delete(arn);
}
