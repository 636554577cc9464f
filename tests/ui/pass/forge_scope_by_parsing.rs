// Text does not become a scope; an id is parsed, and entered.

include!("../tables.rs");

use std::str::FromStr as _;

async fn forged(
    header: &str,
    issuer: &tenantry::scope::ScopeIssuer,
    ann: &tenantry::scope::Principal,
) -> Result<TenantScope> {
    let _ = (issuer, ann);
    issuer.enter(ann, OrganizationId::from_str(header)?).await
}

fn main() {}
