// There is no default organization.

include!("../tables.rs");

async fn forged(
    organization: OrganizationId,
    issuer: &tenantry::scope::ScopeIssuer,
    ann: &tenantry::scope::Principal,
) -> Result<TenantScope> {
    let _ = (issuer, ann, organization);
    Ok(Default::default())
}

fn main() {}
