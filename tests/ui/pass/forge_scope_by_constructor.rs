// No function of `TenantScope` makes one.

include!("../tables.rs");

async fn forged(
    organization: OrganizationId,
    issuer: &tenantry::scope::ScopeIssuer,
    ann: &tenantry::scope::Principal,
) -> Result<TenantScope> {
    let _ = (issuer, ann);
    issuer.enter(ann, organization).await
}

fn main() {}
