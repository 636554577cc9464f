// An id does not become a scope.

include!("../tables.rs");

async fn forged(
    organization: OrganizationId,
    issuer: &tenantry::scope::ScopeIssuer,
    ann: &tenantry::scope::Principal,
) -> Result<TenantScope> {
    let _ = (issuer, ann);
    Ok(organization.into())
}

fn main() {}
