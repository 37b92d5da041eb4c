//! AP features in `-cpu`: QEMU's own models refuse them without KVM, the plugin supplies them.

/// The features a guest gets when the command line says nothing about them.
pub(super) const DEFAULT_FEATURES: &[&str] = &["ap", "apft", "apqci"];

const KNOWN: [&str; 4] = ["ap", "apft", "apqci", "apqi"];

/// The CPU model without AP features, and those that were switched on; `None` when the text does not
/// mention any.
pub(super) fn split_features(value: &str) -> (String, Option<Vec<&'static str>>) {
    let mut features: Option<Vec<&'static str>> = None;
    let mut model = Vec::new();
    for word in value.split(',') {
        let (name, is_on) = match word.split_once('=') {
            Some((name, state)) => (name, matches!(state, "on" | "yes" | "true")),
            None => match (word.strip_prefix('+'), word.strip_prefix('-')) {
                (Some(name), _) => (name, true),
                (_, Some(name)) => (name, false),
                _ => (word, true),
            },
        };
        // The first word is the model's name, never a feature.
        match KNOWN
            .iter()
            .find(|known| **known == name)
            .filter(|_| !model.is_empty())
        {
            Some(known) => {
                let features = features.get_or_insert_with(Vec::new);
                features.retain(|feature| feature != known);
                if is_on {
                    features.push(known);
                }
            }
            None => model.push(word),
        }
    }
    (model.join(","), features)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ap_features_are_taken_out() {
        assert_eq!(split_features("max"), ("max".into(), None));
        assert_eq!(split_features("ap"), ("ap".into(), None));
        assert_eq!(
            split_features("gen15b,ap=on,vx=off,+apft,apqci=off"),
            ("gen15b,vx=off".into(), Some(vec!["ap", "apft"]))
        );
        assert_eq!(
            split_features("qemu,ap=on,ap=off"),
            ("qemu".into(), Some(vec![]))
        );
    }
}
