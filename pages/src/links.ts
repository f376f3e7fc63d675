/** Addresses of AWS's console, from what start.json says of the task. */

const DOMAINS: Record<string, string> = { "aws-cn": "amazonaws.cn", "aws-us-gov": "amazonaws-us-gov.com" };

export function consoleLinks(run: { task_arn?: string; log?: { group?: string; stream?: string } }): { task?: string; log?: string } {
  const found = /^arn:([a-z-]+):ecs:([a-z0-9-]+):\d+:task\/([^/]+)\/([^/]+)$/.exec(run.task_arn ?? "");
  if (!found) return {};
  const [, partition, region, cluster, task] = found as unknown as string[];
  const console = `https://${region}.console.${DOMAINS[partition!] ?? "aws.amazon.com"}`;
  const links: { task?: string; log?: string } = {
    task: `${console}/ecs/v2/clusters/${encodeURIComponent(cluster!)}/tasks/${encodeURIComponent(task!)}?region=${region}`,
  };
  if (run.log?.group && run.log.stream) {
    links.log = `${console}/cloudwatch/home?region=${region}#logsV2:log-groups/log-group/${inFragment(run.log.group)}/log-events/${inFragment(run.log.stream)}`;
  }
  return links;
}

/** CloudWatch's pages want names encoded twice, with a dollar sign for the per cent sign. */
function inFragment(name: string): string {
  return encodeURIComponent(encodeURIComponent(name)).replaceAll("%", "$");
}
