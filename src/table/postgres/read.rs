//! The function through which a read outside of a transaction takes one round trip: it says whose
//! rows the statement touches and runs it.

use crate::table::PostgresRoles;

/// The name of the function.
pub(crate) const READ: &str = "tenantry_read";

/// What follows the organization and the statement, in the order in which the statement numbers
/// it: the values, by type.
pub(crate) const VALUES: [(&str, &str); 9] = [
    ("booleans", "boolean"),
    ("byteas", "bytea"),
    ("dates", "date"),
    ("floats", "double precision"),
    ("integers", "bigint"),
    ("numerics", "numeric"),
    ("texts", "text"),
    ("times", "timestamp with time zone"),
    ("uuids", "uuid"),
];

/// What a read returns; its columns are named where it is called.
pub(crate) const RESULT: &str = "SETOF record";

/// INVARIANT: the organization is set for the transaction, which ends with the call where no other
/// is open, and is taken back before the function returns. Where a transaction has an organization
/// already the function refuses to run: a statement that is taken for another, as behind a pooler
/// that does not follow prepared statements, changes no organization.
///
/// The caller's rights are all that it has. Names are qualified, so that no `search_path` tells it
/// what to run.
pub(crate) const BODY: &str = "
BEGIN
    IF pg_catalog.current_setting('tenantry.organization', true) OPERATOR(pg_catalog.<>) '' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_transaction_state',
            MESSAGE = 'the transaction has an organization';
    END IF;
    organization := pg_catalog.set_config('tenantry.organization', coalesce(organization, ''), true);
    organization := pg_catalog.set_config('transaction_read_only', 'on', true);
    RETURN QUERY EXECUTE statement
        USING booleans, byteas, dates, floats, integers, numerics, texts, times, uuids;
    organization := pg_catalog.set_config('tenantry.organization', '', true);
END
";

/// The arguments as the server writes them.
pub(crate) fn arguments() -> String {
    let mut list = String::from("organization text, statement text");
    for (name, kind) in VALUES {
        list.push_str(&format!(", {name} {kind}[] DEFAULT NULL::{kind}[]"));
    }
    list
}

/// Creates the function anew, so that nobody keeps what was granted on an older one.
///
/// It is the caller's rights that count in it, and the schema of the tables that it looks into.
pub(crate) fn create(roles: &PostgresRoles) -> String {
    let app = roles.application_name();
    let arguments = arguments();
    let (types, body) = (types(), BODY.replace('\'', "''"));
    format!(
        "DO $$
DECLARE
    name text := format('%I.{READ}', current_schema());
BEGIN
    EXECUTE format('DROP FUNCTION IF EXISTS %s(text, text, {types})', name);
    EXECUTE format('CREATE FUNCTION %s({arguments}) RETURNS {RESULT} LANGUAGE plpgsql SECURITY INVOKER SET search_path = %I, pg_temp AS %L', name, current_schema(), '{body}');
    EXECUTE format('REVOKE ALL ON FUNCTION %s(text, text, {types}) FROM PUBLIC', name);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s(text, text, {types}) TO %I', name, '{app}');
END
$$"
    )
}

/// Makes `owner` the one who can alter the function.
#[cfg(feature = "postgres")]
pub(crate) fn give(owner: &str) -> String {
    format!(r#"ALTER FUNCTION {READ}(text, text, {}) OWNER TO "{owner}""#, types())
}

fn types() -> String {
    VALUES.map(|(_, kind)| format!("{kind}[]")).join(", ")
}
