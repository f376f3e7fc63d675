/** Whom of the provider's users the settings let in. */
import type { Settings } from "./settings.ts";

type Allowed = Pick<Settings, "allowedEmailDomains" | "allowedGroups" | "groupsClaim">;

/**
 * Whether the user of these verified claims is in one of the groups and, where both are named, has an address in one of the domains.
 *
 * An address counts only if the provider says that it belongs to the user: at many providers anyone can enter anyone's.
 */
export function isAllowed(claims: Readonly<Record<string, unknown>>, allowed: Allowed): boolean {
  return isInGroup(claims[allowed.groupsClaim], allowed.allowedGroups) && hasAddress(claims, allowed.allowedEmailDomains);
}

function isInGroup(claimed: unknown, groups: readonly string[]): boolean {
  if (groups.length === 0) return true;
  const own: unknown[] = Array.isArray(claimed) ? claimed : [claimed];
  return own.some((group) => typeof group === "string" && groups.includes(group));
}

function hasAddress(claims: Readonly<Record<string, unknown>>, domains: readonly string[]): boolean {
  if (domains.length === 0) return true;
  const { email, email_verified: isVerified } = claims;
  if (typeof email !== "string" || isVerified !== true) return false;
  return domains.includes(email.slice(email.lastIndexOf("@") + 1).toLowerCase());
}
