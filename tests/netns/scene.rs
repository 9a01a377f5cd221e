//! What every test of this suite has: a network, a gateway in its router, a capture on the WAN.

use masq_tests::{
    capture::Capture,
    daemon::Mode,
    gateway::{Gateway, Kind},
    lab::{ISP_IF, Lab, Layout},
};

/// What a test needs, before anything has been built.
#[derive(Clone, Debug)]
pub struct Setup {
    mode: Mode,
    layout: Layout,
    arguments: Vec<&'static str>,
    sources: Vec<&'static str>,
    masq_only: bool,
}

impl Setup {
    /// The usual network, or the one in the environment, with masq in this mode.
    pub fn new(mode: Mode) -> Self {
        let (layout, arguments, sources) = (Layout::from_environment(), Vec::new(), Vec::new());
        Self { mode, layout, arguments, sources, masq_only: false }
    }

    /// Where established flows are to be translated.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// In this network.
    pub fn layout(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    /// With these options of `masq run`, which the reference knows nothing of: the test is about
    /// masq only.
    pub fn arguments(self, arguments: &[&'static str]) -> Self {
        Self { arguments: arguments.to_vec(), masq_only: true, ..self }
    }

    /// With these options of `masq run`, which have it do what the reference does anyway.
    pub fn like_the_reference(self, arguments: &[&'static str]) -> Self {
        Self { arguments: arguments.to_vec(), ..self }
    }

    /// For these sources only (`--source`).
    pub fn sources(self, sources: &[&'static str]) -> Self {
        Self { sources: sources.to_vec(), ..self }
    }

    /// The test asks for more than the kernel's masquerade does, and is left out with it.
    pub fn masq_only(self) -> Self {
        Self { masq_only: true, ..self }
    }

    /// Builds the network, starts capture and gateway, runs the test, and checks the end: the
    /// gateway stops well, and nothing that it has sent was wrong.
    pub fn run(self, test: impl FnOnce(&Scene)) {
        let kind = Kind::from_environment();
        if self.masq_only && kind != Kind::Masq {
            println!("left out: the reference does not do this");
            return;
        }
        if !self.layout.is_possible() {
            println!("left out: this kernel has no VLANs");
            return;
        }
        let lab = Lab::new(self.layout);
        let capture = Capture::start(&lab.isp, ISP_IF);
        let gateway = match kind {
            Kind::Masq => {
                let sources = self.sources.iter().flat_map(|source| ["--source", source]);
                let arguments = sources.chain(self.arguments.iter().copied()).collect::<Vec<_>>();
                Gateway::masq(&lab, self.mode, &arguments)
            }
            Kind::Nftables => Gateway::reference(&lab, &self.sources),
        };
        let scene = Scene { lab: &lab, mode: self.mode, gateway, capture };
        test(&scene);
        let Scene { gateway, capture, .. } = scene;
        gateway.stop();
        capture.finish().assert_clean();
    }
}

/// A network with a running gateway.
#[derive(Debug)]
pub struct Scene<'lab> {
    /// The network.
    pub lab: &'lab Lab,
    /// Where established flows are translated.
    pub mode: Mode,
    /// The gateway.
    pub gateway: Gateway<'lab>,
    /// What crosses the WAN.
    pub capture: Capture,
}

/// Makes two tests, `tc` and `xdp`, of each function that takes a [`Setup`].
#[macro_export]
macro_rules! in_both_modes {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            #[test]
            fn tc() {
                super::$name($crate::scene::Setup::new(masq_tests::daemon::Mode::Tc));
            }

            #[test]
            fn xdp() {
                super::$name($crate::scene::Setup::new(masq_tests::daemon::Mode::Xdp));
            }
        })+
    };
}
