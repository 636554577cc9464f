// An id says which organization, and gives no permission to enter it.

include!("../tables.rs");

async fn orders_of(
    organization: &OrganizationId,
    issuer: &tenantry::scope::ScopeIssuer,
    ann: &tenantry::scope::Principal,
    db: &Database,
) -> Result<Vec<Order>> {
    let _ = (issuer, ann);
    Order::select(&issuer.enter(ann, organization.clone()).await?).fetch_all(db).await
}

fn main() {}
