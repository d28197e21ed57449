//! `s3://bucket/prefix`: where a store is among the buckets.
//!
//! It knows nothing of servers. What would surprise: it takes less than S3 does, so that what is typed is what the keys begin
//! with, whichever service it is.

use std::fmt;
use std::str::FromStr;

/// What addresses of buckets begin with.
pub const SCHEME: &str = "s3://";
/// Longest prefix: keys end at 1024 bytes, and a store's own paths take up to 900.
const MAX_PREFIX_BYTES: usize = 120;

/// A bucket, and the folder in it that is the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketAddress {
    /// The bucket.
    pub bucket: String,
    /// Parts with `/` between them; empty for the whole bucket.
    pub prefix: String,
}

/// Why an address is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address}: {reason}; give s3://BUCKET or s3://BUCKET/PREFIX")]
pub struct BadAddress {
    address: String,
    reason: &'static str,
}

impl FromStr for BucketAddress {
    type Err = BadAddress;

    fn from_str(address: &str) -> Result<Self, BadAddress> {
        // What was typed may hold a password by mistake: it is not said again.
        let bad = |shown: &str, reason| Err(BadAddress { address: shown.to_owned(), reason });
        let Some(rest) = address.strip_prefix(SCHEME) else { return bad("the store", "it does not begin with s3://") };
        if rest.contains(['@', '?', '#']) {
            return bad(SCHEME, "neither keys nor options belong in it; those are the AWS_* variables");
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let bucket_letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(bucket_letters) {
            return bad(address, "a bucket's name is 3 to 63 of a-z, 0-9, `.` and `-`");
        }
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_part = |part: &str| !["", ".", ".."].contains(&part) && part.bytes().all(letters);
        if !prefix.is_empty() && !prefix.split('/').all(is_part) {
            return bad(address, "a prefix is parts of [A-Za-z0-9._-]+ with / between them");
        }
        if prefix.len() > MAX_PREFIX_BYTES {
            return bad(address, "the prefix is too long");
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for BucketAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{SCHEME}{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(formatter, "/{}", self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_bucket_and_perhaps_a_prefix() {
        for (typed, bucket, prefix) in
            [("s3://abc", "abc", ""), ("s3://abc/", "abc", ""), ("s3://a.b-c/x/Y_1.z/", "a.b-c", "x/Y_1.z")]
        {
            let address: BucketAddress = typed.parse().unwrap();
            assert_eq!((&*address.bucket, &*address.prefix), (bucket, prefix));
            assert_eq!(address.to_string(), typed.trim_end_matches('/'));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_form() {
        let long = format!("s3://abc/{}", "x".repeat(MAX_PREFIX_BYTES + 1));
        for typed in [
            "abc",
            "s3://",
            "s3://ab",
            "s3://ABC",
            "s3://abc//x",
            "s3://abc/x//y",
            "s3://abc/../x",
            "s3://abc/ä",
            &long,
        ] {
            let error = typed.parse::<BucketAddress>().unwrap_err().to_string();
            assert!(error.contains("give s3://BUCKET"), "{typed}: {error}");
        }
    }

    #[test]
    fn a_key_in_an_address_is_refused_and_not_repeated() {
        let error = "s3://AKIA:geheim@abc/x".parse::<BucketAddress>().unwrap_err().to_string();
        assert!(error.contains("AWS_*") && !error.contains("geheim"), "{error}");
    }
}
