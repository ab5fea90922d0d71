//! Makes a binding of its parts: its ends from the path, the rest from the body or from the query.

use axum::http::HeaderMap;
use serde::Deserialize;
use serde::de::IgnoredAny;
use utoipa::ToSchema;

use crate::domain::field::HeaderLimits;
use crate::domain::names::{ExchangeName, ShortText};
use crate::domain::topology::exchange::{Binding, BindingTarget, MATCH};
use crate::http::Limits;
use crate::http::codec::{Table, check_integers};
use crate::http::openapi::schemas;
use crate::http::problem::Problem;
use crate::http::request::{self, Query, ReadBody};

/// The routing key and the arguments of a binding.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BindingDeclaration, example = json!({"routing_key": "greeting.#"}))]
pub(in crate::http) struct BindingBody {
    /// Routing key; empty if not given.
    #[schema(example = "greeting.#")]
    pub(in crate::http) routing_key: Option<String>,
    /// For a headers exchange: the headers to compare, and `x-match`: `all`, `any`, `all-with-x` or `any-with-x`. Types that
    /// JSON lacks are written `{"$amqp": "int32", "value": 5}`.
    #[serde(default)]
    #[schema(schema_with = schemas::arguments)]
    pub(in crate::http) arguments: Table,
}

impl BindingBody {
    /// The binding between these ends.
    ///
    /// # Errors
    /// 400 naming the field.
    pub(in crate::http) fn into_binding(self, ends: Ends, limits: &HeaderLimits) -> Result<Binding, Problem> {
        let routing_key = self.routing_key.map(ShortText::parse).transpose();
        let routing_key = routing_key.map_err(|error| Problem::malformed("routing_key", error))?;
        ends.binding(routing_key, self.arguments, limits)
    }
}

/// The arguments in the query, as a document, so that their mistakes are told as those of a body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ArgumentsDocument {
    arguments: Table,
}

/// The ends of a binding.
pub(in crate::http) struct Ends {
    pub(in crate::http) source: ExchangeName,
    pub(in crate::http) target: BindingTarget,
}

impl Ends {
    /// The binding with the routing key and the arguments in the body of the request.
    pub(super) fn with_body(
        self,
        headers: &HeaderMap,
        body: &ReadBody,
        limits: &Limits,
    ) -> Result<Binding, Problem> {
        let given = if body.bytes.is_empty() {
            BindingBody::default()
        } else {
            request::expect_json(headers)?;
            request::json::<Option<BindingBody>>(&body.bytes)?.unwrap_or_default()
        };
        let binding = given.into_binding(self, &limits.amqp_headers)?;
        check_integers(&binding.arguments, &body.bytes, "arguments")?;
        Ok(binding)
    }

    /// The binding with the routing key and the arguments in the query. Refuses a body.
    pub(super) fn with_query(
        self,
        query: &mut Query,
        body: &ReadBody,
        limits: &Limits,
    ) -> Result<Binding, Problem> {
        body.expect_empty("routing_key, arguments and timeout are parameters of the query")?;
        let routing_key = query.text("routing_key")?;
        let arguments = query.take("arguments")?;
        let arguments = arguments.as_deref().unwrap_or("{}");
        check_json("arguments", arguments)?;
        let document = format!("{{\"arguments\":{arguments}}}");
        let given: ArgumentsDocument = request::json(document.as_bytes())?;
        let binding = self.binding(routing_key, given.arguments, &limits.amqp_headers)?;
        check_integers(&binding.arguments, document.as_bytes(), "arguments")?;
        Ok(binding)
    }

    fn binding(
        self,
        routing_key: Option<ShortText>,
        Table(arguments): Table,
        limits: &HeaderLimits,
    ) -> Result<Binding, Problem> {
        self.refuse_default_exchange()?;
        arguments.check(limits).map_err(|error| Problem::malformed("arguments", error))?;
        let Self { source, target } = self;
        let binding = Binding { source, target, routing_key: routing_key.unwrap_or_default(), arguments };
        let field = format!("arguments.{MATCH}");
        binding.check_match().map_err(|wrong| Problem::malformed(&field, wrong))?;
        Ok(binding)
    }

    fn refuse_default_exchange(&self) -> Result<(), Problem> {
        let is_target = matches!(&self.target, BindingTarget::Exchange(name) if name.is_default());
        if self.source.is_default() || is_target {
            let why = "amq.default routes to each queue by its name and can have no other bindings: name another exchange";
            return Err(Problem::malformed("exchange", why));
        }
        Ok(())
    }
}

/// Checks that the value of a query parameter is a JSON object. The mistake names the parameter, and a place in its value.
fn check_json(parameter: &str, value: &str) -> Result<(), Problem> {
    request::json::<IgnoredAny>(value.as_bytes()).map(|_| ()).map_err(|problem| {
        let detail = problem.detail_about(parameter);
        problem.with_detail(detail).with("field", parameter)
    })
}
