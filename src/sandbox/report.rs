//! What this machine can do, found by running the launcher, never by reading settings.

use std::sync::Arc;

use serde::Serialize;

use super::{
    Config, Mode, Network, Reach, either_way, launcher,
    launchers::Launchers,
    policy::{Lock, Plan, Word},
    run::{self, Trial},
    sys,
};

/// What confines programs here, what is weaker than it could be, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The result.
    pub mode: Mode,
    /// One sentence for a person.
    pub summary: String,
    /// Programs run as another user on the host's own files, so that this user must be able to pass
    /// through the folders above theirs.
    pub other_user: bool,
    /// What each layer did in its trial.
    pub layers: Vec<Layer>,
    /// What does not hold, or holds less.
    pub weaker: Vec<String>,
    /// What a person can do about it.
    pub fix: Vec<String>,
}

/// One layer and its trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Whether it held.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
}

impl Layer {
    pub(super) fn new(name: &str, ok: bool, detail: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            ok,
            detail: detail.into(),
        }
    }
}

/// The report, and what runs are built from.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) report: Arc<Report>,
    pub(super) plan: Plan,
    /// The daemon can change to another user.
    pub(super) switch_user: bool,
}

const CAP_SETUID: u64 = 1 << 7;
const CAP_SETGID: u64 = 1 << 6;
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Tries from the best to the least until one holds.
pub(super) async fn probe(config: &Config, launchers: &Launchers) -> Found {
    let powers = sys::capabilities().unwrap_or(0);
    let landlock = sys::landlock_level().unwrap_or(0);
    // Fails only at the end of the runtime.
    either_way(tokio::task::spawn_blocking(launcher::sweep).await);
    let mut cgroups = Vec::new();
    if !config.no_cgroups {
        let found = tokio::task::spawn_blocking(launcher::parents).await;
        cgroups = found.unwrap_or_default();
    }
    let best = Plan {
        namespaces: true,
        user_namespace: powers & CAP_SYS_ADMIN == 0,
        proc: true,
        landlock: landlock > 0,
        handed: false,
        cgroups,
        tmp_bytes: config.tmp_mb << 20,
        without: config.without.clone(),
        trial: false,
    };
    let mut search = Search {
        config,
        launchers,
        layers: Vec::new(),
        weaker: Vec::new(),
        fix: Vec::new(),
        switch_user: powers & CAP_SETUID != 0 && powers & CAP_SETGID != 0,
    };
    let (mode, plan) = search.best(best).await;
    search.conclude(mode, plan, landlock)
}

/// A plan that confines nothing; limits and the watch over time, memory and disk remain.
fn open(best: Plan) -> Plan {
    Plan {
        namespaces: false,
        user_namespace: false,
        landlock: false,
        without: vec![
            Lock::Landlock,
            Lock::Seccomp,
            Lock::User,
            Lock::Capabilities,
            Lock::NoNewPrivileges,
        ],
        ..best
    }
}

struct Search<'a> {
    config: &'a Config,
    launchers: &'a Launchers,
    layers: Vec<Layer>,
    weaker: Vec<String>,
    fix: Vec<String>,
    switch_user: bool,
}

impl Search<'_> {
    async fn best(&mut self, best: Plan) -> (Mode, Plan) {
        if !self.config.enabled {
            self.fix
                .push("Set `skills.sandbox_enabled: true`.".to_owned());
            return if self.config.unconfined {
                (Mode::Unconfined, open(best))
            } else {
                (Mode::None, best)
            };
        }
        let force = self.config.force;
        if force.is_none_or(|f| f == Mode::Full) {
            if self.holds("namespaces", &best).await {
                return (Mode::Full, best);
            }
            let plan = Plan {
                proc: false,
                ..best.clone()
            };
            if self.holds("namespaces without /proc", &plan).await {
                self.weaker.push(
                    "No /proc inside: process substitution in bash and some node functions fail."
                        .to_owned(),
                );
                return (Mode::Full, plan);
            }
        }
        let plan = Plan {
            namespaces: false,
            user_namespace: false,
            ..best
        };
        if force.is_none_or(|f| f == Mode::Degraded)
            && plan.landlock
            && self.holds("landlock and seccomp alone", &plan).await
        {
            let handed = self.hands_over(&plan).await;
            return (Mode::Degraded, Plan { handed, ..plan });
        }
        (Mode::None, plan)
    }

    async fn trial(&self, plan: Plan, network: Network) -> Trial {
        let uid = self.switch_user.then_some(super::DEFAULT_UID);
        run::trial(self.config, self.launchers, (plan, network), uid).await
    }

    /// Without namespaces: every connection that a program makes arrives at the gate.
    async fn hands_over(&mut self, plan: &Plan) -> bool {
        let plan = Plan {
            trial: true,
            handed: true,
            ..plan.clone()
        };
        let Trial { words, failed } = self.trial(plan, Network::Gate(Reach::default())).await;
        let gate = words.into_iter().find_map(|word| match word {
            Word::Found(name, ok, detail) if name == "network" => Some((ok, detail)),
            _ => None,
        });
        let (ok, detail) = match (failed, gate) {
            (None, Some(found)) => found,
            (failed, _) => (false, failed.unwrap_or_else(|| "no finding".to_owned())),
        };
        self.layers.push(Layer::new("gate", ok, detail));
        ok || !self.config.without.is_empty()
    }

    /// One trial run; its findings become layers.
    async fn holds(&mut self, name: &str, plan: &Plan) -> bool {
        let plan = Plan {
            trial: true,
            ..plan.clone()
        };
        let Trial { words, failed } = self.trial(plan, Network::None).await;
        let before = self.layers.len();
        for word in words {
            if let Word::Found(layer, ok, detail) = word {
                self.layers.push(Layer::new(&layer, ok, detail));
            }
        }
        let tested = self.layers.get(before..).unwrap_or_default();
        let broken: Vec<String> = tested
            .iter()
            .filter(|l| !l.ok && l.name != "landlock")
            .map(|l| format!("{}: {}", l.name, l.detail))
            .collect();
        // Tests that leave a layer out want to see what follows, not a lesser mode.
        let ablated = !self.config.without.is_empty();
        let ok = ablated || (failed.is_none() && !tested.is_empty() && broken.is_empty());
        let detail = failed.unwrap_or_else(|| broken.join("; "));
        if ok {
            self.layers.insert(before, Layer::new(name, true, "works"));
        } else {
            self.layers.truncate(before);
            self.advise(&detail);
            self.layers.push(Layer::new(name, false, detail));
        }
        ok
    }

    fn advise(&mut self, detail: &str) {
        let fix = if detail.contains("uid_map") || detail.contains("setgroups after") {
            "A security module forbids user namespaces. On Ubuntu, put this in \
             /etc/apparmor.d/nexflow and reload AppArmor: `abi <abi/4.0>, profile nexflow \
             /usr/bin/nexflow flags=(unconfined) { userns, }`."
        } else if detail.contains("unshare") {
            "Namespaces are forbidden here: in Docker, run with `--security-opt seccomp=` and a \
             profile that allows unshare, mount and pivot_root; on a host, raise \
             user.max_user_namespaces; or run Nexflow outside the container."
        } else if detail.contains("mount proc") {
            "The container masks /proc: run with `--security-opt systempaths=unconfined`, or \
             without `ProtectKernelTunables=` in the service."
        } else if detail.contains("setgroups") || detail.contains("setres") {
            "Root without the right to change users: start Nexflow as an ordinary user."
        } else if detail.contains("landlock") {
            "The kernel has no Landlock: add `landlock` to the `lsm=` boot parameter."
        } else {
            return;
        };
        if !self.fix.iter().any(|known| known == fix) {
            self.fix.push(fix.to_owned());
        }
    }

    fn conclude(mut self, mode: Mode, plan: Plan, landlock: i32) -> Found {
        let groups: Vec<String> = plan
            .cgroups
            .iter()
            .map(|c| c.dir.display().to_string())
            .collect();
        let counted = !groups.is_empty();
        let detail = if counted {
            groups.join(", ")
        } else {
            "cannot be written; memory and disk are watched instead".to_owned()
        };
        self.layers.push(Layer::new("cgroup", counted, detail));
        self.shortcomings(mode, &plan, (landlock, counted));
        let summary = match mode {
            Mode::Full => "Skills run in namespaces with a private root.",
            Mode::Degraded => {
                "Skills run confined by Landlock and a system call filter, without namespaces."
            }
            Mode::None if !self.config.enabled => {
                "Confinement is switched off in the configuration, so no skill runs."
            }
            Mode::None => "Nothing here can confine a skill, so none runs.",
            Mode::Unconfined => {
                "Confinement is switched off: skills can read, change and send everything that \
                 Nexflow itself can."
            }
        };
        let report = Report {
            mode,
            summary: summary.to_owned(),
            other_user: mode == Mode::Degraded && self.switch_user,
            layers: self.layers,
            weaker: self.weaker,
            fix: self.fix,
        };
        Found {
            report: Arc::new(report),
            plan,
            switch_user: self.switch_user && mode != Mode::Unconfined,
        }
    }

    fn shortcomings(&mut self, mode: Mode, plan: &Plan, (landlock, counted): (i32, bool)) {
        let mut weaker = |text: &str| self.weaker.push(text.to_owned());
        if mode == Mode::None {
            return;
        }
        if mode == Mode::Unconfined {
            weaker("Permissions of skills are not enforced, and secrets are within their reach.");
            return;
        }
        if mode == Mode::Full && landlock == 0 {
            weaker("One lock instead of two: the kernel has no Landlock.");
        }
        if !counted {
            weaker("Memory is measured every 20 ms instead of being limited by the kernel.");
            weaker("The number of processes is limited per user, not per run.");
        }
        if mode == Mode::Degraded {
            weaker("Whether a path exists on this machine can be seen, though not read.");
            weaker("The numbers of other processes can be seen.");
            if self.switch_user {
                weaker(
                    "The data directory can be passed through by other users (not listed or read), \
                     and must lie where they can reach it, as under /var or /srv.",
                );
            }
            if !plan.handed {
                weaker(
                    "Skills with network permission are refused: the kernel cannot hand their \
                     connections to the gate.",
                );
            }
            if landlock < 6 {
                weaker("Signals to other processes of the same user are not all stopped.");
            }
            if !self.switch_user {
                weaker("Skills run as the daemon's own user; changing file modes does nothing.");
            }
        }
    }
}
