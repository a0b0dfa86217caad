module pick

go 1.24

require tidegate/sdk v0.1.0

replace tidegate/sdk => ..
