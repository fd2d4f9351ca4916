import Foundation

struct Task: Codable {
    let title: String
    var done: Bool = false
}

final class TaskList {
    private(set) var tasks: [Task] = []

    func add(_ title: String) {
        guard !title.isEmpty else { return }
        tasks.append(Task(title: title))
    }

    func encoded() throws -> Data {
        return try JSONEncoder().encode(tasks)
    }
}
