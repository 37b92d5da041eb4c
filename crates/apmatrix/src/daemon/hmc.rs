//! The hardware console's verbs on the machine.

use arch::{ApType, Apid, Apqi, CardMode};
use machine::{ConsoleError, Machine};

use crate::control::{AdapterView, CardCount, ConsoleView, Request, Response};

/// Does what the console asks; the host should look at the hardware then.
///
/// # Errors
/// Why it cannot be done; nothing has changed.
pub(super) fn operate(machine: &Machine, request: &Request) -> Result<(), ConsoleError> {
    match request {
        Request::Set { spec } => machine.replace_by_spec(spec),
        Request::AddAdapter { id, ap_type, mode } => {
            let mode = CardMode::from_letter(*mode).unwrap_or(CardMode::Accelerator);
            machine.add_adapter(Apid(*id), ApType(*ap_type), mode)
        }
        Request::RemoveAdapter { id } => machine.remove_adapter(Apid(*id)),
        Request::AddDomain { domain } => {
            machine.add_domain(Apqi(*domain))?;
            // A partition usually controls the domains that it uses; it may do so already.
            machine
                .add_control_domain(Apqi(*domain))
                .or_else(|error| match error {
                    ConsoleError::ControlDomainExists { .. } => Ok(()),
                    other => Err(other),
                })
        }
        Request::RemoveDomain { domain } => {
            machine.remove_domain(Apqi(*domain))?;
            machine
                .remove_control_domain(Apqi(*domain))
                .or_else(|error| match error {
                    ConsoleError::NoSuchControlDomain { .. } => Ok(()),
                    other => Err(other),
                })
        }
        Request::Configure { id } => machine.configure(Apid(*id)),
        Request::Deconfigure { id } => machine.deconfigure(Apid(*id)),
        Request::Checkstop { id } => machine.checkstop(Apid(*id)),
        Request::Recover { id } => machine.recover(Apid(*id)),
        // Control's own.
        Request::Show
        | Request::Log
        | Request::Ipl
        | Request::Inject { .. }
        | Request::Faults
        | Request::ClearFaults { .. }
        | Request::Record { .. } => Ok(()),
    }
}

/// The hardware as the console shows it.
pub(super) fn show(machine: &Machine) -> Response {
    let snapshot = machine.snapshot();
    let config = &snapshot.config;
    let adapters = config.adapters.iter().map(|(apid, adapter)| AdapterView {
        id: apid.0,
        name: format!(
            "CEX{}{}",
            adapter.ap_type.generation(),
            adapter.mode.letter()
        ),
        state: match (adapter.deconfigured, adapter.checkstopped) {
            (true, _) => "deconfigured",
            (_, true) => "checkstopped",
            _ => "configured",
        }
        .to_owned(),
    });
    let requests = snapshot
        .queues
        .iter()
        .filter(|queue| queue.counters.reached > 0);
    Response::Hardware(ConsoleView {
        spec: config.to_string(),
        adapters: adapters.collect(),
        usage_domains: config.usage_domains.iter().map(|apqi| apqi.0).collect(),
        control_domains: config.control_domains.iter().map(|apqi| apqi.0).collect(),
        requests: requests
            .map(|queue| CardCount {
                queue: queue.apqn.to_string(),
                count: queue.counters.reached,
            })
            .collect(),
    })
}
