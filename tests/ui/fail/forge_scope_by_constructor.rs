// No function of `TenantScope` makes one.

include!("../tables.rs");

async fn forged(
    organization: OrganizationId,
    issuer: &tenantry::scope::ScopeIssuer,
    ann: &tenantry::scope::Principal,
) -> Result<TenantScope> {
    let _ = (issuer, ann);
    Ok(TenantScope::new(organization))
}

fn main() {}
