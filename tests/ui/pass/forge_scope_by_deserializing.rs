// A job carries a ticket, not a scope.

include!("../tables.rs");

async fn redeemed(
    payload: &str,
    issuer: &tenantry::scope::ScopeIssuer,
    key: &tenantry::scope::TicketKey,
) -> Result<TenantScope> {
    let _ = (issuer, key);
    let ticket: tenantry::scope::ScopeTicket = serde_json::from_str(payload).unwrap();
    issuer.redeem(&ticket, key, b"").await
}

fn main() {}
