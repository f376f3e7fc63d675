/** What the deployment tells the sign-in function, in its environment. Nothing of it is secret. */

export interface Settings {
  readonly issuer: URL;
  readonly clientId: string;
  readonly clientSecretArn: string;
  readonly sessionKeyArn: string;
  readonly scope: string;
  readonly groupsClaim: string;
  readonly allowedGroups: readonly string[];
  readonly allowedEmailDomains: readonly string[];
  readonly sessionSeconds: number;
}

export function readSettings(environment: NodeJS.ProcessEnv): Settings {
  const read = (name: string): string => {
    const value = environment[name];
    if (value === undefined) throw new Error(`${name} must be set`);
    return value;
  };
  return {
    issuer: new URL(read("ISSUER")),
    clientId: read("CLIENT_ID"),
    clientSecretArn: read("CLIENT_SECRET_ARN"),
    sessionKeyArn: read("SESSION_KEY_ARN"),
    scope: read("SCOPE"),
    groupsClaim: read("GROUPS_CLAIM"),
    allowedGroups: JSON.parse(read("ALLOWED_GROUPS")) as string[],
    allowedEmailDomains: JSON.parse(read("ALLOWED_EMAIL_DOMAINS")) as string[],
    sessionSeconds: Number(read("SESSION_SECONDS")),
  };
}
