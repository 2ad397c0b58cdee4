// swift-tools-version:5.9
import PackageDescription

// Where libfogcompute_uniffi is, for building from a checkout. Without it the library must be where
// the linker looks. (A flag that is unsafe to inherit: it is absent when nobody asks for it.)
var linking: [LinkerSetting] = [.linkedLibrary("fogcompute_uniffi")]
if let folder = Context.environment["FOGCOMPUTE_NATIVE_DIR"] {
    linking.append(.unsafeFlags(["-L\(folder)", "-Xlinker", "-rpath", "-Xlinker", folder]))
}

let package = Package(
    name: "FogCompute",
    platforms: [.iOS(.v13), .macOS(.v10_15)],
    products: [.library(name: "FogCompute", targets: ["FogCompute"])],
    targets: [
        .systemLibrary(name: "FogComputeFFI", path: "Sources/FogComputeFFI/include"),
        .target(name: "FogCompute", dependencies: ["FogComputeFFI"], linkerSettings: linking),
        .executableTarget(name: "FogComputeBench", dependencies: ["FogCompute"]),
        .testTarget(name: "FogComputeTests", dependencies: ["FogCompute"]),
    ]
)
