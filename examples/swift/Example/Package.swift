// swift-tools-version:5.9
import PackageDescription

let package = Package(
    name: "Example",
    platforms: [.macOS(.v10_15)],
    dependencies: [.package(path: "../../../mobile/swift")],
    targets: [
        .executableTarget(
            name: "Example", dependencies: [.product(name: "FogCompute", package: "swift")],
            path: ".")
    ]
)
