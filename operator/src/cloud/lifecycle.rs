//! The rules by which the objects of a bucket end.

use aws_sdk_s3::error::BuildError;
use aws_sdk_s3::types as sdk;
use plan::cloud::facts::LifecycleRule;

use super::aws::Aws;
use super::error::CloudError;
use super::s3::{resource, unless_unset};

/// Reads all rules; none was ever set = none.
pub(super) async fn read(aws: &Aws, region: &str, bucket: &str) -> Result<Vec<LifecycleRule>, CloudError> {
    let client = aws.s3(region);
    let call = client.get_bucket_lifecycle_configuration().bucket(bucket).expected_bucket_owner(aws.account()).send();
    let answer = aws.call("s3:GetLifecycleConfiguration", &resource(bucket), call).await;
    let answer = unless_unset(answer, "NoSuchLifecycleConfiguration")?;
    Ok(answer.and_then(|answer| answer.rules).unwrap_or_default().iter().map(facts).collect())
}

/// Replaces all rules.
pub(super) async fn set(aws: &Aws, region: &str, bucket: &str, rules: &[LifecycleRule]) -> Result<(), CloudError> {
    const ACTION: &str = "s3:PutLifecycleConfiguration";
    let request = |source| CloudError::Request { action: ACTION, resource: resource(bucket), source };
    let rules = rules.iter().map(request_of).collect::<Result<Vec<_>, _>>().map_err(request)?;
    let rules = sdk::BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build().map_err(request)?;
    let client = aws.s3(region);
    let call = client.put_bucket_lifecycle_configuration().bucket(bucket).expected_bucket_owner(aws.account());
    aws.call(ACTION, &resource(bucket), call.lifecycle_configuration(rules).send()).await.map(drop)
}

/// A rule is what we would have asked for, or something else.
fn facts(rule: &sdk::LifecycleRule) -> LifecycleRule {
    let days = |found: Option<i32>| found.filter(|days| *days > 0);
    let expiration = rule.expiration.as_ref();
    let noncurrent =
        rule.noncurrent_version_expiration.as_ref().and_then(|noncurrent| days(noncurrent.noncurrent_days));
    let uploads =
        rule.abort_incomplete_multipart_upload.as_ref().and_then(|uploads| days(uploads.days_after_initiation));
    let expires = expiration.and_then(|expiration| days(expiration.days));
    let markers = expiration.and_then(|expiration| expiration.expired_object_delete_marker) == Some(true);
    let ours = [
        uploads.map(|days| LifecycleRule::AbortUploads { days }),
        expires.zip(noncurrent).map(|(days, noncurrent_days)| LifecycleRule::Expire { days, noncurrent_days }),
        markers.then_some(LifecycleRule::DropMarkers),
    ];
    let as_asked = ours.into_iter().flatten().find(|ours| request_of(ours).is_ok_and(|request| is_as(&request, rule)));
    as_asked.unwrap_or_else(|| LifecycleRule::Other(rule.id.clone().unwrap_or_default()))
}

/// AWS answers some of what was not set as an empty or a zero value.
fn is_as(request: &sdk::LifecycleRule, found: &sdk::LifecycleRule) -> bool {
    let mut found = found.clone();
    for list in [found.transitions.as_ref().map(Vec::len), found.noncurrent_version_transitions.as_ref().map(Vec::len)]
    {
        if list.is_some_and(|length| length > 0) {
            return false;
        }
    }
    (found.transitions, found.noncurrent_version_transitions) = (None, None);
    if let Some(expiration) = &mut found.expiration {
        expiration.days = expiration.days.filter(|days| *days > 0);
        expiration.expired_object_delete_marker = expiration.expired_object_delete_marker.filter(|on| *on);
    }
    *request == found
}

fn request_of(rule: &LifecycleRule) -> Result<sdk::LifecycleRule, BuildError> {
    let of_all = sdk::LifecycleRuleFilter::builder().prefix("").build();
    let request = sdk::LifecycleRule::builder().status(sdk::ExpirationStatus::Enabled).filter(of_all);
    match rule {
        LifecycleRule::AbortUploads { days } => {
            let abort = sdk::AbortIncompleteMultipartUpload::builder().days_after_initiation(*days).build();
            request.id("uploads-that-broke-off").abort_incomplete_multipart_upload(abort).build()
        }
        LifecycleRule::Expire { days, noncurrent_days } => {
            let noncurrent = sdk::NoncurrentVersionExpiration::builder().noncurrent_days(*noncurrent_days).build();
            let expiration = sdk::LifecycleExpiration::builder().days(*days).build();
            request.id("recordings").expiration(expiration).noncurrent_version_expiration(noncurrent).build()
        }
        LifecycleRule::DropMarkers => {
            let expiration = sdk::LifecycleExpiration::builder().expired_object_delete_marker(true).build();
            request.id("delete-markers").expiration(expiration).build()
        }
        LifecycleRule::Other(id) => request.id(id).build(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_back_as_it_was_asked_for() {
        let rules = [
            LifecycleRule::AbortUploads { days: 14 },
            LifecycleRule::Expire { days: 30, noncurrent_days: 30 },
            LifecycleRule::DropMarkers,
        ];
        for rule in rules {
            assert_eq!(facts(&request_of(&rule).expect("a rule")), rule);
        }
    }

    #[test]
    fn a_rule_that_does_more_or_less_is_another() {
        let asked = || request_of(&LifecycleRule::Expire { days: 30, noncurrent_days: 30 }).expect("a rule");
        let mut disabled = asked();
        disabled.status = sdk::ExpirationStatus::Disabled;
        let mut of_some = asked();
        of_some.filter = Some(sdk::LifecycleRuleFilter::builder().prefix("records/a").build());
        let mut keeps_versions = asked();
        keeps_versions.noncurrent_version_expiration = None;
        let mut moves = asked();
        let glacier = sdk::Transition::builder().days(1).storage_class(sdk::TransitionStorageClass::Glacier).build();
        moves.transitions = Some(vec![glacier]);
        for other in [disabled, of_some, keeps_versions, moves] {
            assert_eq!(facts(&other), LifecycleRule::Other("recordings".into()), "{other:?}");
        }
    }
}
