// swift-tools-version:5.9
import PackageDescription

let library: Target.Dependency = .product(name: "FogCompute", package: "swift")

let package = Package(
    name: "Example",
    platforms: [.macOS(.v10_15)],
    dependencies: [.package(path: "../../../mobile/swift")],
    targets: [
        .executableTarget(
            name: "Example", dependencies: [library], path: ".", sources: ["main.swift"]),
        .executableTarget(name: "Fog", dependencies: [library], path: "Fog"),
        .executableTarget(name: "Mixnet", dependencies: [library], path: "Mixnet"),
        .executableTarget(name: "Optimise", dependencies: [library], path: "Optimise"),
        .executableTarget(name: "Placement", dependencies: [library], path: "Placement"),
        .executableTarget(name: "Words", dependencies: [library], path: "Words"),
    ]
)
