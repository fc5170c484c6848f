/** One stream for all tabs of a browser: it opens few connections to one host, and the daemon encodes once anyway. */

import { Source } from "./source";

interface Port {
  readonly port: MessagePort;
  topics: readonly string[];
}

const ports = new Set<Port>();
let source: Source | null = null;
let heard = "";

function listen(): void {
  const topics = [...new Set([...ports].flatMap((each) => each.topics))].sort();
  const wanted = topics.join();
  if (wanted === heard) return;
  heard = wanted;
  source?.stop();
  source = topics.length ? new Source(topics, tell, (is) => ports.forEach((each) => each.port.postMessage({ connected: is }))) : null;
}

function tell(topic: string, data: string): void {
  for (const each of ports) if (each.topics.includes(topic)) each.port.postMessage({ topic, data });
}

addEventListener("connect", (event) => {
  const port = (event as MessageEvent).ports[0];
  if (!port) return;
  const own: Port = { port, topics: [] };
  ports.add(own);
  port.onmessage = (message: MessageEvent<{ topics: readonly string[] | null }>) => {
    if (message.data.topics) own.topics = message.data.topics;
    else ports.delete(own);
    listen();
    if (source?.isConnected) port.postMessage({ connected: true });
  };
});
