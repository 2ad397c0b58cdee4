//! The step that puts nodes of the mesh beside programs that are not ours.

use crate::python;
use crate::session::{Session, Stop, prepare};
use crate::tally::Runner;

/// Packets of and for another implementation, and nodes on virtual Bluetooth controllers.
pub(crate) fn test(session: &mut Session<'_>) -> Result<(), Stop> {
    let workspace = session.workspace;
    let python = python::package_and_peers(workspace, "mesh-requirements.txt")?;
    let build = [
        "build",
        "--locked",
        "-p",
        "fogcompute-mesh",
        "--example",
        "packets",
    ];
    prepare(&mut workspace.cargo(build))?;
    let mut tests = workspace.command(python);
    tests
        .args(["-m", "pytest", "-p", "no:cacheprovider"])
        .arg(workspace.path("core/mesh/tests/peers"))
        .env("FOGCOMPUTE_EXAMPLES", workspace.target("debug/examples"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    session.tests(Runner::Pytest, &mut tests)
}
