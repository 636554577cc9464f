// Text does not become a scope; an id is parsed, and entered.

include!("../tables.rs");

async fn forged(
    header: &str,
    issuer: &tenantry::scope::ScopeIssuer,
    ann: &tenantry::scope::Principal,
) -> Result<TenantScope> {
    let _ = (issuer, ann);
    header.parse::<TenantScope>()
}

fn main() {}
