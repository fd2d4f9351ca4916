package example.stock

data class Item(val name: String, val quantity: Int)

class Stock(private val items: MutableList<Item> = mutableListOf()) {
    fun add(item: Item) {
        require(item.quantity > 0) { "quantity must be positive" }
        items += item
    }

    fun total(): Int = items.sumOf { it.quantity }
}

fun main() {
    val stock = Stock()
    stock.add(Item("nail", 200))
    println("pieces: ${stock.total()}")
}
