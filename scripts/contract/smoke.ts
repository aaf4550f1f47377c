// Uses a client that was generated from the description, as its first user would.

import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

const tokens: Record<string, string> = JSON.parse(process.env.CONTRACT_TOKENS!);

function client(token: string) {
  return createClient<paths>({ baseUrl: process.env.HOOKCAST_URL, headers: { authorization: `Bearer ${token}` } });
}

const registered = await client(tokens.registration).POST("/webhooks/account", { body: { user_id: "typescript" } });
assert.ok(registered.data, JSON.stringify(registered.error));
const consumer = client(registered.data.access_token);
const made = await consumer.POST("/webhooks/subscribe", { body: { event: "typescript.*", url: null } });
assert.ok(made.data, JSON.stringify(made.error));
const subscription: components["schemas"]["Subscription"] = made.data;
assert.equal(subscription.state, "active");

const producer = client(tokens.trigger);
const triggered = await producer.POST("/webhooks/trigger", {
  body: { event: "typescript.one", payload: { n: 1 }, source_id: "t" },
});
assert.ok(triggered.data && !Array.isArray(triggered.data), JSON.stringify(triggered.error));
assert.equal(triggered.data.subscriptions, 1);
const path = { id: triggered.data.id };
const shown = await producer.GET("/webhooks/events/{id}", { params: { path } });
assert.equal(shown.data?.source_id, "t");
const fetched = await consumer.GET("/webhooks/subscriptions/{id}/events", {
  params: { path: { id: subscription.id }, query: { wait: "5s" } },
});
assert.ok(typeof fetched.data === "object", "a page, and no stream");
assert.equal(fetched.data.data[0].event, "typescript.one");
const backlog = await client(tokens.admin).GET("/webhooks/admin/backlog", {});
assert.ok((backlog.data?.waiting ?? 0) >= 1);

const refused = await consumer.POST("/webhooks/subscribe", { body: { event: "a b", url: null } });
assert.equal(refused.response.status, 422);
assert.equal(refused.error?.field, "event");
