// The official TypeScript clients against a running sandbox: v2 in each of its modes, v1 as it is.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import assert from 'node:assert/strict';

const endpoint = new URL(process.env.MCP_URL);
const requestInit = { headers: { Authorization: `Bearer ${process.env.MCP_KEY}` } };
const info = { name: 'plugboard-tests', version: '1' };

const orders = (query) => ({
  name: 'connector_execute',
  arguments: { service: 'wildberries', module: 'statistics', method: 'GET', path: '/api/v1/supplier/orders', query },
});

async function listsAndCalls(client, transport, revision) {
  await client.connect(transport);
  try {
    if (revision) assert.equal(client.getNegotiatedProtocolVersion(), revision);
    const { tools } = await client.listTools();
    assert.deepEqual(tools.map((tool) => tool.name), ['list_services', 'describe_service', 'connector_execute']);
    const good = await client.callTool(orders({ dateFrom: '2026-04-15' }));
    assert.notEqual(good.isError, true, JSON.stringify(good));
    assert.equal(good.structuredContent.state, 'succeeded');
    assert.deepEqual(JSON.parse(good.content[0].text), good.structuredContent);
    const bad = await client.callTool(orders({}));
    assert.equal(bad.isError, true);
    assert.equal(bad.structuredContent.error.field, 'query.dateFrom');
  } finally {
    await client.close();
  }
}

const v2 = (versionNegotiation) => () =>
  [new Client(info, versionNegotiation ? { versionNegotiation } : {}), new StreamableHTTPClientTransport(endpoint, { requestInit })];

const cases = {
  'typescript 2.4.0, auto': [v2({ mode: 'auto' }), '2026-07-28'],
  'typescript 2.4.0, pinned to 2026-07-28': [v2({ mode: { pin: '2026-07-28' } }), '2026-07-28'],
  'typescript 2.4.0, legacy': [v2({ mode: 'legacy' }), '2025-11-25'],
  'typescript 2.4.0, as it comes': [v2(undefined), '2025-11-25'],
  'typescript sdk 1.32.2': [() => [new ClientV1(info), new TransportV1(endpoint, { requestInit })], undefined],
};

let failed = 0;
for (const [name, [make, revision]] of Object.entries(cases)) {
  try {
    await listsAndCalls(...make(), revision);
    console.log(`PASS ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}: ${error.stack ?? error}`);
  }
}
process.exit(failed ? 1 : 0);
