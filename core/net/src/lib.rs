//! TCP links with Noise, mix packets over sockets.
