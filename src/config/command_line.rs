//! How flags may be written: the same for all commands.

use std::env;

use clap::{Arg, ArgAction, Command, builder::Resettable};

/// Gives each flag of a command, and of those below it, the forms that flags of ours have.
#[must_use]
pub fn command_line(command: Command) -> Command {
    let form = |arg: Arg| {
        let arg = if is_switch(&arg) { with_value(arg) } else { arg };
        if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg }
    };
    command.mut_args(form).mut_subcommands(command_line)
}

/// Whether the variable of a flag is there and has nothing in it. It is then as if it were not set: manifests that are
/// filled in from values leave many a variable empty.
fn is_empty(arg: &Arg) -> bool {
    arg.get_env().and_then(env::var_os).is_some_and(|value| value.is_empty())
}

fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

/// Lets a switch have a value, as Go's flags have it and so the deployments of ingress-nginx: `--strict=true` is
/// `--strict`, and `--strict=false` is as if it were not there.
fn with_value(switch: Arg) -> Arg {
    switch
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .value_name("BOOL")
        .default_value("false")
        .default_missing_value("true")
        .hide_default_value(true)
}

#[cfg(test)]
mod tests {
    use crate::config::RunFlags;

    /// Whether Services of type ExternalName are refused, under flags of a command line.
    fn refuses(flags: &[&str]) -> Result<bool, clap::Error> {
        let flags = RunFlags::from_arguments([&["--manifests", "x"], flags].concat());
        Ok(flags?.objects.disable_svc_external_name)
    }

    #[test]
    fn a_switch_may_have_a_value() {
        for (flags, expected) in [
            (&[][..], false),
            (&["--disable-svc-external-name"], true),
            (&["--disable-svc-external-name=true"], true),
            (&["--disable-svc-external-name=false"], false),
            (&["--disable-svc-external-name", "--metrics-per-host=false"], true),
        ] {
            assert_eq!(refuses(flags).expect("they are good"), expected, "{flags:?}");
        }
        for bad in [&["--disable-svc-external-name=treu"][..], &["--disable-svc-external-name", "true"]] {
            assert!(refuses(bad).is_err(), "{bad:?}");
        }
    }
}
