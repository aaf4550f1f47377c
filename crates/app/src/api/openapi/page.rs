//! The description as a page: everything is in it, and it asks no other host for anything.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::{Map, Value};

/// The page's style.
pub const STYLE: &str = "\
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:60rem;margin:0 auto;padding:1rem}
h2{margin-top:3rem}
h3{margin:2rem 0 .5rem}
code,pre{font:.9em/1.4 ui-monospace,monospace}
pre{overflow:auto;padding:.75rem;background:#8882;border-radius:.3rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #8884}
summary{cursor:pointer}
.method{text-transform:uppercase;font-weight:bold}
";

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The page of a description.
pub fn of(description: &Value) -> Markup {
    let info = &description["info"];
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                title { (text(&info["title"])) " HTTP API" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (text(&info["title"])) " HTTP API " (text(&info["version"])) }
                p { (text(&info["description"])) }
                p { "For programs: " a href="/openapi.json" { "openapi.json" } " (OpenAPI 3.1)." }
                h2 { "Tokens" }
                p { "Each is sent as " code { "Authorization: Bearer TOKEN" } "." }
                dl {
                    @for (name, scheme) in members(&description["components"]["securitySchemes"]) {
                        dt { code { (name) } }
                        dd { (text(&scheme["description"])) }
                    }
                }
                @for tag in items(&description["tags"]) {
                    h2 { (text(&tag["name"])) }
                    p { (text(&tag["description"])) }
                    @for (path, item) in members(&description["paths"]) {
                        @for method in METHODS {
                            @if item[method]["tags"][0] == tag["name"] {
                                (operation(description, path, method, &item[method]))
                            }
                        }
                    }
                }
                h2 { "Schemas" }
                @for (name, schema) in members(&description["components"]["schemas"]) {
                    h3 id=(name) { code { (name) } }
                    p { (text(&schema["description"])) }
                    pre { (pretty(schema)) }
                }
            }
        }
    }
}

fn operation(description: &Value, path: &str, method: &str, operation: &Value) -> Markup {
    html! {
        h3 id=(text(&operation["operationId"])) { code { span.method { (method) } " " (path) } }
        p { (text(&operation["summary"])) }
        @if let Some(more) = operation["description"].as_str() { p { (more) } }
        p { "Token: " (token(operation)) "." }
        @if operation["parameters"].is_array() {
            table {
                tr { th { "parameter" } th { "in" } th { "takes" } th { "meaning" } }
                @for parameter in items(&operation["parameters"]) {
                    tr {
                        td { code { (text(&parameter["name"])) } @if parameter["required"] == true { " (must be there)" } }
                        td { (text(&parameter["in"])) }
                        td { code { (parameter["schema"]) } }
                        td { (text(&parameter["description"])) }
                    }
                }
            }
        }
        @for (media_type, content) in members(&operation["requestBody"]["content"]) {
            p { "Body: " code { (media_type) } (schema_link(&content["schema"])) }
            @for example in examples(content) { pre { (pretty(example)) } }
        }
        @for (status, answer) in members(&operation["responses"]) {
            @let answer = resolved(description, answer);
            details {
                summary { strong { (status) } " " (text(&answer["description"])) }
                @for (media_type, content) in members(&answer["content"]) {
                    p { code { (media_type) } (schema_link(&content["schema"])) }
                    @for example in examples(content) { pre { (pretty(example)) } }
                }
            }
        }
    }
}

fn token(operation: &Value) -> Markup {
    let names: Vec<&str> = items(&operation["security"]).flat_map(members).map(|(name, _)| name.as_str()).collect();
    html! { @if names.is_empty() { "none" } @else { code { (names.join(", ")) } } }
}

/// A link to a schema that has a name.
fn schema_link(schema: &Value) -> Markup {
    let name = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
    html! { @if let Some(name) = name { ", " a href={ "#" (name) } { (name) } } }
}

fn examples(content: &Value) -> impl Iterator<Item = &Value> {
    let several = members(&content["examples"]).map(|(_, example)| &example["value"]);
    content.get("example").into_iter().chain(several)
}

fn resolved<'a>(description: &'a Value, item: &'a Value) -> &'a Value {
    let target = item["$ref"].as_str().and_then(|reference| description.pointer(reference.strip_prefix('#')?));
    target.unwrap_or(item)
}

fn pretty(value: &Value) -> String {
    value.as_str().map_or_else(|| format!("{value:#}"), str::to_owned)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
